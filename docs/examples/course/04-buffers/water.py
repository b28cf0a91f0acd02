"""Test: when does a Connection stop reading, and when does it begin again? Usage: water.py FILE, without a network."""

import importlib.util
import sys
from selectors import EVENT_READ, EVENT_WRITE
from unittest.mock import Mock

spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

reactor = Mock()
connection = program.Connection(reactor, Mock())
for waits, reads in ((0, True), (65535, True), (65536, False), (40000, False), (16384, False), (16383, True),
                     (40000, True), (65536, False), (0, True)):  # fmt: skip
    connection.waiting = bytearray(waits)
    connection.watch()
    _, events, _ = reactor.selector.modify.call_args.args
    if bool(events & EVENT_READ) is not reads:
        sys.exit(f"with {waits:,} bytes waiting it {'does not read' if reads else 'reads'}, and should do otherwise")
    if bool(events & EVENT_WRITE) is not bool(waits):
        sys.exit(f"with {waits:,} bytes waiting it waits for room to write: {bool(events & EVENT_WRITE)}")
print("it stops at 65,536 bytes, and begins again below 16,384")
