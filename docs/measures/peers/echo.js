// TCP and UDP echo as Node's own documentation would have it: node echo.js PORT
"use strict";
const net = require("node:net");
const dgram = require("node:dgram");
const port = Number(process.argv[2]);

net
  .createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  })
  .listen(port, "127.0.0.1", 1024);

const datagrams = dgram.createSocket("udp4");
datagrams.on("message", (data, peer) => datagrams.send(data, peer.port, peer.address));
datagrams.bind(port, "127.0.0.1");
