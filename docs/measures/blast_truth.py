"""What blast says of a server whose delays are known, and of its own schedule, beside what the other side saw.

    python docs/measures/blast_truth.py delays      latencies of servers that answer after 0.1, 1, 10 and 100 ms
    python docs/measures/blast_truth.py schedule    when datagrams of an open loop arrive, by the kernel's own stamps

The server is a process of its own that never sleeps, on the first processor; blast is on the second. By the kernel's
stamps it says how long after its arrival each answer left: what the machine adds there is not blast's error.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import socket
import struct
import subprocess
import sys
import time

import numpy as np

from echobench.bench.load.runner import run
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan

CASES = (  # delay in seconds, flows, messages
    ("0.0001", 1, 20_000),
    ("0.001", 2, 20_000),
    ("0.01", 10, 20_000),
    ("0.1", 100, 20_000),
    ("mixture", 10, 20_000),
)
DEPTHS = (50.0, 99.0, 99.9)
ALLOWED = {50.0: 20.0, 99.0: 50.0}  # microseconds of error, besides 1 % of the delay, on a quiet host
LATENESS = 20.0  # microseconds that blast and the sink may be apart, besides 10 %
SO_TIMESTAMPNS, SO_TIMESTAMPING = 35, 37  # asm-generic/socket.h
STAMPS = 0x2 | 0x8 | 0x10 | 0x800
"""TX_SOFTWARE, RX_SOFTWARE, SOFTWARE and OPT_TSONLY of linux/net_tstamp.h."""


def delay_of(spec: str, number: int) -> float:
    """Of two hundred messages of the mixture one takes 100 ms, 18 take 10, the others 1: no percentile is at a step."""
    if spec != "mixture":
        return float(spec)
    return 0.1 if number % 200 == 50 else 0.01 if number % 11 == 5 else 0.001


def stamp_of(control: list[tuple[int, int, bytes]]) -> int:
    """Return the kernel's software stamp among control messages, in nanoseconds since the epoch."""
    for level, kind, value in control:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING):
            seconds, nanoseconds = struct.unpack_from("qq", value)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    raise ValueError("a datagram without a stamp")


def serve(spec: str) -> None:
    """Answer each datagram after a time, and at the end of standard input print how long it really took.

    That is from when the kernel had the datagram until it handed the answer to the loopback device, both by the
    kernel's stamps (Documentation/networking/timestamping.rst): what comes besides is the generator's own.
    """
    os.sched_setaffinity(0, {0})
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPS)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    os.set_blocking(0, False)
    print(sock.getsockname()[1], flush=True)
    due: list[tuple[float, int, int, bytes, tuple[str, int]]] = []
    came: list[int] = []  # of each answer, in the order of sending, which is that of the stamps of departure
    left: list[int] = []
    number = 0
    clock = time.perf_counter
    while True:
        with contextlib.suppress(BlockingIOError):
            data, control, _, peer = sock.recvmsg(2048, 256)
            number += 1
            heapq.heappush(due, (clock() + delay_of(spec, number), number, stamp_of(control), data, peer))
        while due and due[0][0] <= clock():
            _, _, arrival, data, peer = heapq.heappop(due)
            came.append(arrival)
            sock.sendto(data, peer)
            left.append(stamp_of(sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)[1]))
        if not due:
            with contextlib.suppress(BlockingIOError):
                if os.read(0, 1) == b"":
                    break
    histogram = Histogram()
    # The first ones may have been stamped when they were read: the kernel begins to stamp from a work queue.
    histogram.record(np.array(left[100:]) - np.array(came[100:]))
    print(json.dumps({str(depth): histogram.percentile(depth) for depth in DEPTHS}))


def delays() -> None:
    """Compare blast's percentiles with the server's."""
    for spec, flows, count in CASES:
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        plan = Plan(
            host="127.0.0.1",
            port=port,
            transport="udp",
            flows=flows,
            count=count,
            duration=120.0,
            timeout=2.0,
            cpus=(1,),
        )
        tally = run(plan).tally
        server.stdin.close()
        theirs = json.loads(server.stdout.read())
        server.wait()
        line = f"{spec:8} {tally.answered} of {count}"
        for depth in DEPTHS:
            ours, said = tally.from_send.percentile(depth) / 1e3, theirs[str(depth)] / 1e3
            line += f" | p{depth:g} {ours:9.1f} us, server {said:9.1f}: {ours - said:+7.1f} us"
            if depth in ALLOWED and abs(ours - said) > 0.01 * said + ALLOWED[depth]:
                line += f" (more than 1 % + {ALLOWED[depth]:g} us)"
        reading = " and ".join(f"p{depth:g} {tally.reading.percentile(depth) / 1e3:.1f}" for depth in (50.0, 99.0))
        print(f"{line} | read later by {reading} us", flush=True)


def sink() -> None:
    """Take datagrams until the end of standard input; print when the kernel got each, nanoseconds since the epoch."""
    os.sched_setaffinity(0, {0})
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(0.2)
    os.set_blocking(0, False)
    print(sock.getsockname()[1], flush=True)
    arrivals: list[int] = []
    while True:
        try:
            data, control, _, _ = sock.recvmsg(2048, 64)
        except TimeoutError:
            with contextlib.suppress(BlockingIOError):
                if os.read(0, 1) == b"":
                    break
            continue
        seconds, nanoseconds = struct.unpack("qq", control[0][2])
        # The message says when it was sent, on perf_counter; how that clock and the kernel's relate is measured last.
        arrivals.append(seconds * 1_000_000_000 + nanoseconds)
        del data
    print(json.dumps(arrivals))


def schedule(rates: tuple[float, ...]) -> None:
    """Compare the times of arrival with the times that were due."""
    for rate in rates:
        receiver = subprocess.Popen(
            [sys.executable, __file__, "sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert receiver.stdin is not None
        assert receiver.stdout is not None
        port = int(receiver.stdout.readline())
        count = int(rate * 3)
        plan = Plan(
            host="127.0.0.1", port=port, transport="udp", model="open", rate=rate, flows=16, count=count,
            duration=30.0, timeout=0.2, cpus=(1,),
        )  # fmt: skip
        tally = run(plan).tally
        receiver.stdin.close()
        arrivals = np.array(json.loads(receiver.stdout.read()))
        receiver.wait()
        # Nobody but the plan knows when the first was due: so lateness is from the line through the earliest arrivals,
        # on both sides. How late the earliest itself was, blast alone can say.
        late = arrivals - np.arange(len(arrivals)) * (1e9 / rate) if len(arrivals) == count else None
        if late is None:
            print(f"{rate:9,.0f}/s: {count - len(arrivals)} of {count} did not arrive: no figure")
            continue
        late = (late - late.min()) / 1e3
        saw = [float(np.percentile(late, depth)) for depth in (50, 99)]
        least = tally.lateness.least / 1e3
        said = [tally.lateness.percentile(depth) / 1e3 - least for depth in (50, 99)]
        line = (
            f"{rate:9,.0f}/s: the sink saw p50 {saw[0]:7.1f}, p99 {saw[1]:7.1f} us; "
            f"blast says p50 {said[0]:7.1f}, p99 {said[1]:7.1f} us, beyond its earliest, which was {least:.1f} us late"
        )
        if any(abs(ours - theirs) > 0.1 * theirs + LATENESS for ours, theirs in zip(said, saw, strict=True)):
            line += f" (apart by more than 10 % + {LATENESS:g} us)"
        print(line, flush=True)


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "delays":
        delays()
    elif what == "schedule":
        schedule(tuple(float(rate) for rate in sys.argv[2:]) or (1_000.0, 10_000.0, 50_000.0, 100_000.0))
    elif what == "serve":
        serve(sys.argv[2])
    elif what == "sink":
        sink()
    else:
        sys.exit(__doc__)
