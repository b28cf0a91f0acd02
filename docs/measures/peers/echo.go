// TCP and UDP echo, a goroutine for each connection: go build -o echo-go echo.go && ./echo-go PORT
package main

import (
	"log"
	"net"
	"os"
)

func main() {
	address := "127.0.0.1:" + os.Args[1]
	datagrams, err := net.ListenPacket("udp4", address)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		data := make([]byte, 1<<16)
		for {
			n, peer, err := datagrams.ReadFrom(data)
			if err == nil {
				datagrams.WriteTo(data[:n], peer)
			}
		}
	}()
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer connection.Close()
			data := make([]byte, 1<<16)
			for {
				n, err := connection.Read(data)
				if n > 0 {
					if _, err := connection.Write(data[:n]); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		}()
	}
}
