"""Network cards to test with: a driver that answers as it is told, and counters that grow as they are told."""

from __future__ import annotations

import errno
import json
import os
import struct

from echobench.host.nic.counts import Counts, Cpu, Queue
from echobench.host.nic.flows import Flows
from echobench.host.nic.picture import Picture
from echobench.kernel import card, ethtool

SDFN, SD = card.bits_of("sdfn"), card.bits_of("sd")


def strings(*names):
    return b"".join(name.encode().ljust(32, b"\0") for name in names)


class Driver:
    """A driver with these answers; what it has none for is EOPNOTSUPP, as the kernel has it."""

    def __init__(self, name="igb", queues=4, hashed=SD, table=None, *, rxhash=True, statistics=(), lies=False):
        self.name, self.queues, self.rxhash, self.lies = name, queues, rxhash, lies
        self.hashed = dict.fromkeys(card.KINDS.values(), hashed)
        self.table = [index % max(1, queues) for index in range(128)] if table is None else table
        self.statistics = list(statistics)
        self.features = ["rx-gro", "rx-hashing", *(f"f{n}" for n in range(40)), "rx-udp-gro-forwarding"]
        self.refuses = {}
        """By command: the number that the kernel answers with."""
        self.asked = []

    def ask(self, request):
        (command,) = struct.unpack_from("=I", request)
        self.asked.append(command)
        if command in self.refuses:
            raise OSError(self.refuses[command], "refused")
        handler = {
            ethtool.GDRVINFO: self._info, ethtool.GCHANNELS: self._channels, ethtool.SCHANNELS: self._set_channels,
            ethtool.GRXFH: self._fields, ethtool.SRXFH: self._set_fields, ethtool.GRSSH: self._spreading,
            ethtool.GSSET_INFO: self._number, ethtool.GSTRINGS: self._strings, ethtool.GSTATS: self._statistics,
            ethtool.GFEATURES: self._features, ethtool.SFEATURES: self._set_features,
            ethtool.GRINGPARAM: lambda request: struct.pack("=9I", 0, 4096, 0, 0, 4096, 256, 0, 0, 512),
            ethtool.GPAUSEPARAM: lambda request: struct.pack("=4I", 0, 1, 1, 0),
            ethtool.GCOALESCE: lambda request: struct.pack("=23I", 0, 3, 0, 0, 0, 5, *[0] * 4, 1, *[0] * 12),
        }.get(command)  # fmt: skip
        if handler is None:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        answer = handler(request)
        return (answer + request[len(answer) :])[: len(request)]

    def _info(self, request):
        return struct.pack("=I32s32s32s32s", 0, self.name.encode(), b"6.12", b"3.2", b"0000:01:00.0")

    def _channels(self, request):
        return struct.pack("=9I", 0, 0, 0, 1, 8, 0, 0, 1, self.queues)

    def _set_channels(self, request):
        self.queues = struct.unpack("=9I", request)[8]
        return request

    def _fields(self, request):
        command, kind, _ = struct.unpack("=IIQ", request)
        return struct.pack("=IIQ", command, kind, self.hashed[kind])

    def _set_fields(self, request):
        _, kind, bits = struct.unpack("=IIQ", request)
        if not self.lies:
            self.hashed[kind] = bits
        return request

    def _spreading(self, request):
        head = struct.pack("=IIIIBBxxI", ethtool.GRSSH, 0, len(self.table), 40, 1, 0, 0)
        return head + struct.pack(f"={len(self.table)}I", *self.table) + bytes(range(40))

    def _names(self, kind):
        return {
            ethtool.STATISTICS: [name for name, _ in self.statistics], ethtool.FEATURES: self.features,
            ethtool.HASHES: ["toeplitz", "xor", "crc32"],
        }[kind]  # fmt: skip

    def _number(self, request):
        _, _, mask, _ = struct.unpack("=IIQI", request)
        return struct.pack("=IIQI", 0, 0, mask, len(self._names(mask.bit_length() - 1)))

    def _strings(self, request):
        _, kind, _ = struct.unpack_from("=III", request)
        return struct.pack("=III", 0, kind, len(self._names(kind))) + strings(*self._names(kind))

    def _statistics(self, request):
        values = [value for _, value in self.statistics]
        return struct.pack(f"=II{len(values)}Q", 0, len(values), *values)

    def _features(self, request):
        on = 1 | self.rxhash << 1
        return struct.pack("=II", 0, 2) + struct.pack("=8I", 3, 3, on, 0, 1 << 10, 0, 0, 0)

    def _set_features(self, request):
        _, _, valid, requested, _, _ = struct.unpack("=6I", request)
        if valid & 2 and not self.lies:
            self.rxhash = bool(requested & 2)
        return request


class Recorded:
    """Answers that a driver once gave (tests/qemu/): pairs of a request and an answer, or an error, without zeros."""

    def __init__(self, path):
        self._answers = dict(json.loads(path.read_text()))

    def ask(self, request):
        answer = self._answers.get(request.rstrip(b"\0").hex(), errno.EOPNOTSUPP)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return bytes.fromhex(answer).ljust(len(request), b"\0")


def a_picture(driver="igb", queues=4, hashed="sd", **changes):
    """A card of four queues whose driver can everything."""
    known = {
        "interface": "eth0",
        "driver": card.Driver(driver, "6.12", "", ""),
        "channels": card.Channels(0, 0, 1, 8, 0, 0, 1, queues),
        "hashed": dict.fromkeys(card.KINDS, hashed),
        "spreading": card.Spreading("toeplitz", bytes(40), tuple(index % queues for index in range(128))),
        "offloads": {"rx-hashing": True},
        "changeable": frozenset({"rx-hashing"}),
        "cpus": 4,
        **changes,
    }
    return Picture(**known)


def counts_of(*packets, seconds=1.0, cpus=(), card=None, source="driver"):
    """Counters that have grown by so many packets a queue."""
    return Counts(
        time=seconds,
        source=source if packets else None,
        queues={index: Queue(each, 100 * each, None) for index, each in enumerate(packets)},
        cpus={index: each if isinstance(each, Cpu) else Cpu(each, 0, 0, 0) for index, each in enumerate(cpus)},
        packets=sum(packets),
        card=card or {},
    )


def flows_of(number, kind="udp4", **more):
    return Flows(kind, number, 1, **more)
