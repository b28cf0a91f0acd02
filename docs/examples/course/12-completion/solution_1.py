"""Exercise 1, solved: each datagram of a batch has an address of its own, and nobody waits for a batch to grow."""

import ctypes
import socket
import sys

MANY, SIZE = 64, 65536
MSG_WAITFORONE = 0x10000  # wait until one is there, and take what else is (recvmmsg(2))


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Head(ctypes.Structure):  # struct msghdr, in recvmsg(2)
    _fields_ = [
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint),
        ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]  # fmt: skip


class Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = [("head", Head), ("len", ctypes.c_uint)]


def serve(sock: socket.socket) -> None:
    libc, fd = ctypes.CDLL(None), sock.fileno()
    # Columns: one array of all addresses, one of all contents, one of
    # all messages, which point to them. They are made once.
    names, rooms = (ctypes.c_char * 16 * MANY)(), (ctypes.c_char * SIZE * MANY)()
    iovecs, messages = (Iovec * MANY)(), (Message * MANY)()
    for n in range(MANY):
        iovecs[n] = Iovec(ctypes.addressof(rooms[n]), SIZE)
        messages[n].head.name, messages[n].head.namelen = ctypes.addressof(names[n]), 16
        messages[n].head.iov, messages[n].head.iovlen = ctypes.addressof(iovecs[n]), 1
    while True:
        many = libc.recvmmsg(fd, messages, MANY, MSG_WAITFORONE, None)
        for n in range(many):
            iovecs[n].len = messages[n].len  # answer as many bytes as came
        sent = 0
        while sent < many:
            rest = ctypes.byref(messages, sent * ctypes.sizeof(Message))
            done = libc.sendmmsg(fd, rest, many - sent, 0)
            sent += max(done, 1)  # one that cannot be sent is left out
        for n in range(many):
            iovecs[n].len, messages[n].head.namelen = SIZE, 16


def main(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("127.0.0.1", port))
        print("ready on port", sock.getsockname()[1], flush=True)
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
