"""What a run of ``blast`` does: all its settings in one value."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

import attrs
import numpy as np

from ...errors import EchobenchError
from ...values import shown

MODELS: Final = ("closed", "open", "flood", "connect")
TRANSPORTS: Final = ("tcp", "udp", "tls")
ARRIVALS: Final = ("constant", "poisson")
ENGINES: Final = ("auto", "columns", "portable")
HEADER: Final = 16  # bytes that every message begins with: flow, sequence and time (load/payload.py)
LARGEST: Final = {"tcp": 1 << 24, "tls": 1 << 24, "udp": 65527}  # 16 bits of length, less UDP's header (RFC 768)
LARGEST_IPV4: Final = 65507  # in a datagram: the same 16 bits hold IPv4's header too (RFC 791)
WHOLE: Final = ("port", "flows", "window", "processes", "machines", "seed", "count")  # settings that are whole numbers
FASTEST: Final = 1e9  # messages per second
UNDER_WAY: Final = 10_000_000  # messages, each of which takes memory of the generator
MIX: Final = 1024  # sizes drawn from a range or a list; then they repeat


Sizes = np.ndarray[Any, np.dtype[np.int64]]


class PlanError(EchobenchError):
    """A plan that cannot be run.

    The message is one sentence that says what is wrong, and what to do.
    """


@attrs.frozen(kw_only=True)
class Plan:
    """The settings of a run.

    Times are in seconds, sizes in bytes; the rate is in messages per second over all processes of all machines.

    ``flows`` is the number of source ports: connections for TCP and TLS, sockets for UDP. In the closed model each flow
    keeps ``window`` messages in flight. Raises PlanError if settings contradict each other.
    """

    host: str
    port: int = 7
    family: int | None = None
    """4 or 6: use the host's addresses of that version of IP only."""
    transport: str = "tcp"
    model: str = "closed"
    flows: int = 1
    window: int = 1
    rate: float | None = None
    arrivals: str = "constant"
    size: str = "64"
    gso: bool = False
    sources: tuple[str, ...] = ()
    source_ports: tuple[int, int] | None = None
    duration: float = 10.0
    warmup: float = 1.0
    cooldown: float = 0.5
    count: int | None = None
    """Messages in all. If set, there is no warm-up, and ``duration`` is an upper limit."""
    timeout: float = 1.0
    """How long a flow waits for an answer before it goes on, and how long the run waits at its end."""
    interval: float = 1.0
    seed: int = 1
    cpus: tuple[int, ...] = ()
    processes: int = 1
    """On each machine."""
    machines: int = 1
    """Machines that share the load: division.py says how."""
    engine: str = "auto"
    ca: str | None = None
    insecure: bool = False
    server_name: str | None = None

    def __attrs_post_init__(self) -> None:
        self._check_values()
        self._check_together()
        self._check_sources()

    def _check_values(self) -> None:
        for name, known in (("transport", TRANSPORTS), ("model", MODELS), ("arrivals", ARRIVALS), ("engine", ENGINES)):
            if getattr(self, name) not in known:
                raise PlanError(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        if self.family not in (None, 4, 6):
            raise PlanError(f"family is 4 or 6, not {self.family!r}")
        for name in ("flows", "window", "processes", "machines", "port", "count"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise PlanError(f"{name} is at least 1, not {getattr(self, name)}")
        if self.port > 65535:
            raise PlanError(f"a port is at most 65535, not {self.port}")
        for name in ("duration", "interval", "timeout"):
            if not 0 < getattr(self, name) < 1e6:
                raise PlanError(f"{name} is a number of seconds above 0, not {getattr(self, name):g}")
        for name in ("warmup", "cooldown"):
            if not 0 <= getattr(self, name) < 1e6:
                raise PlanError(f"{name} is a number of seconds, not {getattr(self, name):g}")
        if self.rate is not None and not 0 < self.rate <= FASTEST:
            raise PlanError(
                f"a rate is a number of messages per second above 0 and up to {FASTEST:.0e}, not {self.rate:g}"
            )
        if self.flows * self.window > UNDER_WAY:
            raise PlanError(
                f"{self.flows} flows with {self.window} messages each are more than the {UNDER_WAY:,} messages that "
                "can be in flight: take a smaller --window"
            )

    def _check_together(self) -> None:
        sizes = self.sizes()
        udp = self.transport == "udp"
        for wrong, sentence in (
            (
                (self.rate is not None) != (self.model == "open"),
                "the open model needs a --rate, and no other model takes one",
            ),
            (self.model == "flood" and not udp, "a flood is one-way, which needs UDP: add --udp"),
            (self.model == "connect" and udp, "--connect opens connections, and UDP has none: leave out --udp"),
            (self.gso and not udp, "--gso is for UDP: add --udp"),
            (
                udp and int(sizes.max()) > LARGEST_IPV4 and (self.family == 4 or _is_ipv4(self.host)),
                f"a datagram over IPv4 has at most {LARGEST_IPV4} bytes, not {int(sizes.max())}: take fewer, or IPv6",
            ),
            (self.gso and len(sizes) > 1, "--gso sends trains of equal datagrams: give one --size"),
            (
                bool(self.ca or self.insecure or self.server_name) and self.transport != "tls",
                "--ca, --insecure and --server-name are for TLS: add --tls",
            ),
            (self.server_name == "", "the server's name is empty: give one, or leave out --server-name"),
            (
                self.generators > self.flows,
                f"{self._crowd()} need at least one flow each, and there are {self.flows}: add --flows",
            ),
            (
                self.machines > 1 and self.count is not None and self.count < self.generators,
                f"{self._crowd()} need at least one message each, and --count is {self.count}: give more",
            ),
            (
                self.machines > 1 and bool(self.sources),
                "a --source is an address of one machine, and the load is sent from several: leave it out",
            ),
        ):
            if wrong:
                raise PlanError(sentence)

    def _check_sources(self) -> None:
        for source in self.sources:
            try:
                found = ipaddress.ip_address(source.partition("%")[0])
            except ValueError:
                raise PlanError(f"a source is an address of this machine, not {shown(source)}") from None
            if found.is_multicast or found.packed == b"\xff" * 4:
                raise PlanError(f"a source is an address of this machine, and {source} is that of a group")
        if self.source_ports is None:
            return
        first, last = self.source_ports
        if not 1 <= first <= last <= 65535:
            raise PlanError(f"source ports are from 1 to 65535 in rising order, not {first}-{last}")
        have = (last - first + 1) * max(1, len(self.sources))
        if have < self.flows:
            raise PlanError(f"{self.flows} flows need as many source ports, and {first}-{last} gives {have}")

    @property
    def generators(self) -> int:
        """How many processes send, on all machines together."""
        return self.processes * self.machines

    @property
    def one_under_way(self) -> bool:
        """Whether there is one message at a time, which waits for nothing but the server."""
        return self.model == "closed" and self.flows == self.window == 1

    def _crowd(self) -> str:
        if self.machines == 1:
            return f"{self.processes} processes"
        return f"{self.machines} machines with {self.processes} process{'es' * (self.processes > 1)} each"

    def sizes(self) -> Sizes:
        """Give the sizes of a flow's messages, in order.

        One size if all are equal, else ``MIX`` sizes that repeat. Raises PlanError.
        """
        if not re.fullmatch(r"[0-9]+(-[0-9]+|(,[0-9]+)*)", self.size):
            raise PlanError(
                f"a size is a number of bytes, a range like 64-1500 or a list like 64,512: not {self.size!r}"
            )
        numbers = [int(n) for n in re.findall(r"\d+", self.size)]
        least = HEADER if self.transport == "udp" else 1
        largest = LARGEST[self.transport]
        for number in numbers:
            if not least <= number <= largest:
                why = "; flow, sequence and time need that much" if number < least and least > 1 else ""
                raise PlanError(f"a {self.transport.upper()} message has {least} to {largest} bytes, not {number}{why}")
        if len(set(numbers)) == 1:
            return np.array(numbers[:1], np.int64)
        random = np.random.default_rng(self.seed)
        if "-" not in self.size:
            return random.choice(np.array(numbers, np.int64), MIX)
        if numbers[0] > numbers[1]:
            raise PlanError(f"a range of sizes goes from low to high, and {self.size} does not")
        return random.integers(numbers[0], numbers[1] + 1, MIX, np.int64)

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes. Older versions read it too, unless several machines share the load."""
        return {name: value for name, value in attrs.asdict(self).items() if name != "machines" or value > 1}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Plan:
        """Read a stored plan. Raises PlanError."""
        if unknown := sorted(set(stored) - {field.name for field in attrs.fields(cls)}):
            raise PlanError(f"the stored run has settings that this version does not know: {', '.join(unknown)}")
        lists = ("sources", "cpus", "source_ports")
        try:
            for name, kind in {**dict.fromkeys(WHOLE, int), "host": str, "size": str}.items():
                if not isinstance(stored.get(name, kind()), kind) and (name != "count" or stored[name] is not None):
                    raise TypeError(f"{name} is {stored[name]!r}")
            settings: dict[str, Any] = {k: tuple(v) if k in lists and v is not None else v for k, v in stored.items()}
            return cls(**settings)
        except (TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"the stored run's settings cannot be read: {error}") from None


def _is_ipv4(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False


@attrs.frozen(kw_only=True)
class Share:
    """One process's part of a run: its flows, its rate and its count."""

    plan: Plan
    index: int
    first_flow: int
    flows: int
    rate: float | None
    count: int | None
    cpu: int | None

    @property
    def phase(self) -> float:
        """The process's first message, as a part of the interval between its messages.

        From 0 up to, but not including, 1: so the processes send in turn.
        """
        return self.index / self.plan.generators


def shares(plan: Plan) -> list[Share]:
    """Divide a run among its processes, as evenly as possible; those of the first machine come first."""
    number = plan.generators

    def part(whole: int, index: int) -> int:
        return whole // number + (index < whole % number)

    made, first = [], 0
    for index in range(number):
        flows = part(plan.flows, index)
        made.append(
            Share(
                plan=plan,
                index=index,
                first_flow=first,
                flows=flows,
                rate=plan.rate / number if plan.rate else None,
                count=part(plan.count, index) if plan.count is not None else None,
                cpu=cpu_of(plan, index),
            )
        )
        first += flows
    return made


def cpu_of(plan: Plan, index: int) -> int | None:
    """Give the CPU that a process is pinned to; None if it is not. Each machine begins with the first of them."""
    return plan.cpus[index % plan.processes % len(plan.cpus)] if plan.cpus else None
