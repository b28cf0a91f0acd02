"""Small servers for comparisons: ``python small_servers.py PORT HOW`` behaves as HOW says."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
import time

HERE = __file__


def command(how: str) -> str:
    """Give the command line of one."""
    return f"{shlex.join([sys.executable, '-S', HERE])} {{port}} {how}"


def tcp(port: int, answer=lambda data: data) -> None:
    """Serve, with a thread for each connection."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)

    def talk(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(1 << 16):
                sock.sendall(answer(data))

    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=talk, args=(sock,), daemon=True).start()


def udp(port: int, pause: float = 0) -> None:
    """Serve datagrams, and sleep before each answer, which is a system call more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        while True:
            data, peer = sock.recvfrom(1 << 16)
            if pause:
                time.sleep(pause)
            sock.sendto(data, peer)


def daemonize(again: bool) -> None:
    """Leave the parent's process group and session, as daemons do."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if again and os.fork():
        os._exit(0)


def main() -> None:
    port, how = int(sys.argv[1]), sys.argv[2]
    if how == "exits":
        print("the licence has expired", file=sys.stderr)
        sys.exit(3)
    if how == "panics":
        sys.exit("panic: index out of range\n" + "\n".join(f"goroutine {number}" for number in range(int(sys.argv[3]))))
    if how.startswith("late-exit"):
        threading.Timer(1.5, lambda: (print("out of memory", file=sys.stderr, flush=True), os._exit(7))).start()
    if how == "mute":
        time.sleep(1000)
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "daemon":
        daemonize(True)
    if how == "litter":  # a child that outlives us, in a session of its own, deaf from its first moment on
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not os.fork():
            os.setsid()
            time.sleep(1000)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if how.endswith("udp"):
        udp(port, 0.001 if how.startswith("slow") else 0)
    tcp(port, {"wrong": lambda data: data.upper(), "short": lambda data: data[:3]}.get(how, lambda data: data))


if __name__ == "__main__":
    main()
