"""Runs in the virtual machine: looks, counts, changes, with echobench itself. It says @lines to the host, and hears."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from echobench.host.nic import counts
from echobench.host.nic.picture import look
from echobench.kernel import card, ethtool

SENT = 3840
ATTEMPTS = 4
PATIENCE = 30.0  # seconds: the emulated machine may be slow


def say(word: str, **what: object) -> None:
    print(f"@{word} {json.dumps(what)}", flush=True)


def ask_host(word: str) -> None:
    """Have the host do something, and wait until it has."""
    say(word)
    assert sys.stdin.readline().strip() == "done"


def command(*arguments: str) -> int:
    """Run echobench as a user does, and show it."""
    print(f"$ echobench nic {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "echobench", "nic", *arguments], stdin=subprocess.DEVNULL)
    print(f"(exit status {done.returncode})", flush=True)
    return done.returncode


def counted(interface: str) -> list[int]:
    """Have 3,840 datagrams sent from 64 ports, and give the packets of each queue.

    An emulated card on a busy host loses some of them before it has a queue: then they are sent anew.
    """
    for _ in range(ATTEMPTS - 1):
        if sum(found := once(interface)) >= SENT:
            return found
    return once(interface)


def once(interface: str) -> list[int]:
    before = counts.take(interface)
    ask_host("send")
    end = time.monotonic() + PATIENCE
    while True:
        time.sleep(1.0)
        grown = counts.grown(before, counts.take(interface))
        found = [each.packets for _, each in sorted(grown.queues.items())]
        if sum(found) >= SENT or time.monotonic() > end:
            return found


def fields(interface: str, wanted: str) -> str | None:
    """Set the hash of udp4 by the kernel's own call; give why it was refused."""
    own = ethtool.Card(interface)
    try:
        card.set_fields(own.ask, "udp4", wanted)
    except OSError as error:
        return str(error)
    finally:
        own.close()
    return None


def record(interface: str) -> None:
    """Tell the host all answers of this driver, byte by byte."""
    own, answers = ethtool.Card(interface), []

    def ask(request: bytes) -> bytes:
        known = request.rstrip(b"\0").hex()  # most of it is room for the answer
        try:
            answer = own.ask(request)
        except OSError as error:
            answers.append([known, error.errno])
            raise
        answers.append([known, answer.rstrip(b"\0").hex()])
        return answer

    look(interface, ask=ask)
    ethtool.statistics(ask)
    own.close()
    say("recorded", answers=answers)


def main() -> None:
    interface = sys.argv[1]
    name = look(interface).name
    say("up", driver=name)
    record(interface)
    say("counted", hash="as it starts", queues=counted(interface))
    if name == "virtio_net" and look(interface).queues > 1:
        say("set", hash="sd", refused=fields(interface, "sd"), said=look(interface).hashed["udp4"])
        say("counted", hash="sd, rxhash off", queues=counted(interface))
        own = ethtool.Card(interface)
        ethtool.set_feature(own.ask, "rx-hashing", True)
        own.close()
    say("set", hash="sd", refused=fields(interface, "sd"), said=look(interface).hashed["udp4"])
    say("counted", hash="sd", queues=counted(interface))
    print("@transcript", flush=True)
    command(interface)
    ask_host("load")
    command(interface, "--quiet", "--watch", "5")
    status = command(interface, "--quiet", "--watch", "5", "--apply", "udp4=sdfn")
    ask_host("quiet")
    print("@end", flush=True)
    say("applied", status=status)
    say("counted", hash="sdfn", queues=counted(interface))


main()
