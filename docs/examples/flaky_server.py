"""A test of a client that asks again: the server drops questions, as a seed says, and counts them."""

import socket

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from echobench import EchoService


def ask(sock, question, tries=5):
    """The code under test: ask again if no answer comes in time, and say how often that was."""
    for number in range(1, tries + 1):
        sock.send(question)
        try:
            return sock.recv(65536), number
        except TimeoutError:
            continue
    raise TimeoutError(f"no answer to {tries} questions")


def client(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect(("127.0.0.1", port))
        return [ask(sock, b"hello") for _ in range(4)]


@inlineCallbacks
def main(reactor):
    service = EchoService(0, ["127.0.0.1"], faults=["udp:drop=50%,seed=4"], reactor=reactor)
    service.startService()
    (port,) = {address.port for _, address in service.addresses()}
    for answer, number in (yield deferToThread(client, port)):
        print(f"{answer} came to question number {number}")
    print("dropped by the server:", service.snapshot().faults["drop"])
    yield service.stopService()


react(main)
