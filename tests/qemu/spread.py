"""Boots emulated network cards, and proves that a hash with ports spreads 64 flows which it had on one queue before.

    python tests/qemu/spread.py [--kernel FILE --modules FOLDER] [--card igb] [--transcript FOLDER]

It needs root, QEMU 8, a static busybox and a kernel with its modules; without, it says what is missing and does
nothing. It is no part of the ordinary tests: a card takes half a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
from machine import Machine, SkipError

SENT, PORTS = 3840, 64
STRAY = 40
"""Packets beside ours that are borne: what the kernel itself sends."""
LIMIT = 600.0  # seconds without a line
RATE = 1280.0


def sender(*arguments: object, **how: object) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("sender.py")
    command = ["ip", "netns", "exec", machine.SPACE, sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **how)  # type: ignore[call-overload,no-any-return]


def talk(guest: Machine) -> tuple[dict[str, list[int]], list[dict[str, object]], list[str], list[list[object]]]:
    """Do what the machine asks for; give the packets by queue for each hash, what it said, and the transcript."""
    counted: dict[str, list[int]] = {}
    said, transcript, recorded = [], [], []
    load, showing = None, False
    try:
        while (line := guest.line(LIMIT)) is not None and line != "@ended":
            word, _, rest = line.partition(" ")
            if word == "@send":
                sender(machine.THEIRS, PORTS, SENT // PORTS, 0).wait()
                guest.tell("done")
            elif word == "@load":
                load = sender(machine.THEIRS, PORTS, 0, RATE)
                guest.tell("done")
            elif word == "@quiet" and load is not None:
                load.communicate()
                guest.tell("done")
            elif word == "@counted":
                what = json.loads(rest)
                counted[what["hash"]] = what["queues"]
                print(f"  {what['hash']}: {what['queues']}", flush=True)
            elif word == "@recorded":
                recorded = json.loads(rest)["answers"]
            elif word in ("@up", "@set", "@applied"):
                said.append({"word": word, **json.loads(rest)})
            elif word in ("@transcript", "@end"):
                showing = word == "@transcript"
            elif word == "@failed" or "Traceback" in line:
                raise AssertionError(f"the machine failed: {' | '.join(guest.said[-20:])}")
            elif showing:
                transcript.append(line)
    finally:
        if load is not None and load.poll() is None:
            load.communicate()
    return counted, said, transcript, recorded


def check(card: str, counted: dict[str, list[int]], said: list[dict[str, object]], transcript: list[str]) -> None:
    """Compare with what must be. Raises AssertionError."""
    text = "\n".join(transcript)
    assert {each["word"] for each in said} == {"@up", "@set", "@applied"}, said
    for name, queues in counted.items():
        assert SENT <= sum(queues) <= SENT + STRAY, (name, queues)
    if card == "virtio-plain":
        assert "offers no RSS" in text, text
        assert all(len(queues) == 1 for queues in counted.values()), counted
        return
    share = SENT / machine.QUEUES
    if card == "virtio":  # the driver says sd, and has told the card nothing
        assert next(each["said"] for each in said if each["word"] == "@set") == "sd", said
        assert max(counted["sd, rxhash off"]) <= 1.7 * share, counted
    before, after = counted["sd"], counted["sdfn"]
    assert len(before) == machine.QUEUES, before
    assert max(before) >= SENT, before
    assert all(0.5 * share <= each <= 1.7 * share for each in after), after
    assert "although 64 flows came" in text, text
    assert "proved: udp4=sdfn" in text, text
    assert next(each["status"] for each in said if each["word"] == "@applied") == 0, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", type=Path)
    parser.add_argument("--modules", type=Path)
    parser.add_argument("--card", action="append", choices=list(machine.CARDS))
    parser.add_argument("--transcript", type=Path, help="a folder for transcripts and for the drivers' answers")
    options = parser.parse_args()
    try:
        parts = machine.needed(options.kernel, options.modules)
    except SkipError as reason:
        print(f"skipped: {reason}")
        return 0
    for card in options.card or machine.CARDS:
        print(card, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            machine.make_space()
            guest = None
            try:
                guest = Machine(card, *parts, Path(folder))
                machine.wire_up()
                counted, said, transcript, recorded = talk(guest)
            finally:
                if guest is not None:
                    guest.end()
                machine.drop_space()
        if options.transcript is not None:
            (options.transcript / f"{card}.txt").write_text("\n".join(transcript) + "\n")
            (options.transcript / f"{card}.json").write_text(json.dumps(recorded) + "\n")
        check(card, counted, said, transcript)
        print(f"  {card}: as it must be", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
