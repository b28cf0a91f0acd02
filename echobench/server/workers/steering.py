"""Has the kernel give a connection or datagram to the worker of the CPU that it came in on (Linux).

A card's queue interrupts one CPU, and that CPU brings the packet up to the socket. By default the kernel then chooses a
worker by a hash, on whatever CPU that worker is. A program on the sockets' group (SO_ATTACH_REUSEPORT_CBPF, socket(7))
chooses the worker that is pinned to the very CPU, so that a queue's packets stay on one core. A packet that comes in on
a CPU without a worker goes to one of them by the CPU's number.

The program is classic BPF (Documentation/networking/filter.rst). It returns the number of a socket in its group, which
is the order in which they were bound.
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ...sockets import BindError
from .cpus import ROOT, numbers_of

SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h

# linux/bpf_common.h; the operand is SKF_AD_OFF + SKF_AD_CPU (linux/filter.h)
_LOAD_CPU: Final = (0x20, 0, 0, 0xFFFFF000 + 36)  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_RETURN_IT: Final = (0x16, 0, 0, 0)  # BPF_RET | BPF_A
_INSTRUCTION: Final = struct.Struct("=HBBI")


class SteeringError(BindError):
    """Packets that cannot be steered as asked; the message is one sentence."""


def program(cpus: Sequence[int]) -> bytes:
    """Make the program for workers of which each is pinned to the CPU at its place in ``cpus``."""
    made = [_LOAD_CPU]
    for number, cpu in enumerate(cpus):
        if cpu not in cpus[:number]:
            made += [(_IF_EQUAL, 0, 1, cpu), (_RETURN, 0, 0, number)]
    made += [(_MODULO, 0, 0, len(cpus)), _RETURN_IT]
    return b"".join(_INSTRUCTION.pack(*each) for each in made)


def attach(sock: socket.socket, cpus: Sequence[int]) -> None:
    """Attach the program to the group that a socket is in. Raises SteeringError."""
    packed = program(cpus)
    memory = array("B", packed)
    # struct sock_fprog (linux/filter.h): unsigned short len | struct sock_filter *filter; the kernel copies it
    header = struct.pack("@HP", len(packed) // _INSTRUCTION.size, memory.buffer_info()[0])
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, header)
    except OSError as error:
        raise SteeringError(
            f"--steer cpu cannot be had here: {error.strerror or error}; leave it out, and the kernel spreads by a hash"
        ) from error


def advice(cpus: Sequence[int], root: Path = ROOT) -> Iterator[str]:
    """Say what each network card lacks, so that a queue's packets stay on the core of one worker."""
    for folder in sorted((root / "sys/class/net").glob("*")):
        if not (folder / "device").exists() or _read(folder / "operstate") == "down":
            continue
        name = folder.name
        queues = len(list((folder / "queues").glob("rx-*")))
        if queues != len(cpus):
            yield (
                f"{name} has {queues} receive queues for {len(cpus)} workers: as many are best "
                f"('ethtool -L {name} combined {len(cpus)}')"
            )
        irqs = [path.name for path in (folder / "device/msi_irqs").glob("*")]
        irqs = irqs or [path.name for path in (folder / "device/../msi_irqs").glob("*")]  # virtio's
        for irq in sorted(irqs, key=int):
            strange = sorted(numbers_of(_read(root / f"proc/irq/{irq}/effective_affinity_list")) - set(cpus))
            if strange:
                yield (
                    f"interrupt {irq} of {name} goes to CPU {', '.join(map(str, strange))}, where no worker is: write "
                    f"a worker's CPU to /proc/irq/{irq}/smp_affinity_list, and stop irqbalance"
                )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
