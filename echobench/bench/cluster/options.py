"""The options by which commands take other machines, and what connects to these."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from ...values import shown
from ..command import Parsed
from ..option import Option, exclude, said
from . import ClusterError
from .machines import Machines

SECTION: Final = "From many machines"
NAMES: Final = ("cluster", "cluster_tls", "ssh", "ssh_python")
PYTHON: Final = "python3"
MISSING: Final = "needs the extra cluster: pip install 'echobench[cluster]'"


def scheduler(text: str) -> str:
    """Read a scheduler's address: tcp://HOST:PORT or tls://HOST:PORT. Raises ValueError."""
    found = re.fullmatch(r"(?:tcp|tls)://(?:[^][/@:\s]+|\[[0-9a-fA-F:.]+(?:%\w+)?\]):([0-9]{1,5})", text)
    if found is None or not 1 <= int(found[1]) <= 65535:
        raise ValueError(f"{shown(text)} is not a scheduler's address such as tcp://192.0.2.1:8786")
    return text


def hosts(text: str) -> tuple[str, ...]:
    """Read names as ssh takes them, separated by commas: web1,load@web2. Raises ValueError."""
    found = tuple(text.split(","))
    for each in found:
        if not re.fullmatch(r"[A-Za-z0-9_:][A-Za-z0-9_.@:%-]*", each):
            raise ValueError(f"{shown(each)} is not a host such as web1 or load@192.0.2.1; separate hosts with commas")
        if each.count(":") == 1:
            raise ValueError(f"{shown(each)} has a port, which ssh takes from ~/.ssh/config: give the host alone")
        if found.count(each) > 1:
            raise ValueError(f"{shown(each)} is there twice: one generator a machine is enough")
    return found


def files(text: str) -> tuple[str, ...]:
    """Read the three files of TLS, separated by commas. Raises ValueError."""
    found = tuple(text.split(","))
    if len(found) != 3:
        raise ValueError(f"{shown(text)} is not three files, CA,CERTIFICATE,KEY, separated by commas")
    for each in found:
        if not (Path(each).is_file() and os.access(each, os.R_OK)):
            raise ValueError(f"{shown(each)} is no file that can be read")
    return found


def python(text: str) -> str:
    """Read the name or the path of a program. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_./~+-]+", text):
        raise ValueError(f"{shown(text)} is not the name or the path of a program")
    return re.sub("/+", "/", text)  # execnet takes two for the end of the name


OPTIONS: Final = (
    Option(
        ["--cluster"],
        type=Parsed("address", scheduler),
        help="Send from all workers of this Dask scheduler, tcp://HOST:PORT, instead of from this machine. Flows, rate "
        "and source ports are divided among them. Needs the extra cluster.",
    ),
    Option(
        ["--cluster-tls"],
        type=Parsed("ca,cert,key", files),
        help="With --cluster tls://HOST:PORT: the PEM files of the authority, of a certificate and of its key. Without "
        "it, Dask's own configuration names them.",
    ),
    Option(
        ["--ssh"],
        type=Parsed("host,host", hosts),
        help="Send from these machines, which ssh reaches without a password. Needs the extra cluster.",
    ),
    Option(
        ["--ssh-python"],
        type=Parsed("program", python),
        help=f"With --ssh: the Python on the machines that has echobench.  [default: {PYTHON}]",
    ),
)


def taken(options: dict[str, Any]) -> dict[str, Any]:
    """Take these options from all of a command. Raises click.UsageError if they contradict each other."""
    own = {name: options.pop(name, None) for name in NAMES}
    exclude(own, "cluster", "ssh")
    for name, other in (("cluster_tls", "cluster"), ("ssh_python", "ssh")):
        if own[name] and not own[other]:
            raise click.UsageError(f"{said(name)} has no effect without --{other}")
    if own["cluster_tls"] and not own["cluster"].startswith("tls://"):
        raise click.UsageError(
            f"{said('cluster_tls')} is for a scheduler with TLS, tls://HOST:PORT, and {own['cluster']} has none"
        )
    return own


def wanted(own: dict[str, Any]) -> bool:
    """Whether other machines are to send."""
    return bool(own["cluster"] or own["ssh"])


def again(number: int) -> str:
    """Say that a stored run is to be repeated by as many machines."""
    return f"{number} machines sent the load of the stored run: name machines for this one, with --cluster or --ssh"


@contextlib.contextmanager
def connected(own: dict[str, Any], note: Callable[[str], None]) -> Iterator[Machines]:
    """Connect to the machines that the options name, and leave them at the end. Raises ClusterError."""
    machines = _connect(own, note)
    try:
        places = [host.place for host in machines.hosts]
        for place in dict.fromkeys(places):
            if places.count(place) > 1:
                note(f"{places.count(place)} of the machines are {place}, and share what it can send")
        yield machines
    finally:
        machines.close()


def _connect(own: dict[str, Any], note: Callable[[str], None]) -> Machines:
    if own["ssh"]:
        try:
            from .on_ssh import SshMachines

            return SshMachines(own["ssh"], own["ssh_python"] or PYTHON)
        except ImportError as error:
            raise ClusterError(f"--ssh {MISSING} ({error})") from None
    try:
        from .on_dask import DaskMachines

        if own["cluster"].startswith("tcp://") and not _is_loopback(own["cluster"]):
            note(
                f"{own['cluster']} is not protected: whoever reaches the scheduler or a worker can run programs "
                "there (--cluster-tls)"
            )
        return DaskMachines(own["cluster"], own["cluster_tls"] or ())
    except ImportError as error:
        raise ClusterError(f"--cluster {MISSING} ({error})") from None


def _is_loopback(scheduler: str) -> bool:
    host = scheduler.partition("://")[2].rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
