"""An echo server over UDP: whole datagrams, from the address that was asked (Linux)."""

import socket
import struct
import sys

SIZE = 65536  # no datagram is longer
IP_PKTINFO = 8  # linux/in.h; what comes with it is described in ip(7)
PKTINFO = struct.Struct("=i4s4s")  # interface, our address, the header's destination


def serve(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)  # say to which address each came
    while True:
        data, notes, _, peer = sock.recvmsg(SIZE, socket.CMSG_SPACE(PKTINFO.size))
        asked = PKTINFO.unpack(notes[0][2])[2]
        from_there = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, asked, bytes(4)))
        sock.sendmsg([data], [from_there], 0, peer)


def main(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))  # at every address of this machine
        print("ready on port", sock.getsockname()[1], flush=True)
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
