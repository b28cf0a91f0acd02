"""Sixteen machines at a small rate, which is more than this computer has processors for."""

from __future__ import annotations

import json
import sys

import pytest
from rigs.blast_results import VALIDATOR
from rigs.dask_machines import SCHEDULER, registered, scheduler, worker
from rigs.load_machines import LEADER, SERVER, address, needs_namespaces, network, serving
from rigs.ssh_machines import needs_sshd, prepare, sshd

pytest.importorskip("distributed", reason="the extra cluster is not installed")
pytest.importorskip("execnet", reason="the extra cluster is not installed")
pytestmark = [pytest.mark.slow, needs_namespaces]

MACHINES = 16
EACH = 20
"""Messages per second of a machine."""
NAMES = [address(number) for number in range(MACHINES)]


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Sixteen machines, and a server."""
    with network(tmp_path_factory.mktemp("sixteen"), MACHINES) as made:
        made.port = serving(made)
        yield made


def together(made, path, *how, **other):
    """Run a load on all, and give the stored result."""
    done = made.run(
        LEADER, sys.executable, "-m", "echobench", "blast", f"{SERVER}:{made.port}", "--udp", "--flows", str(MACHINES),
        "--rate", str(EACH * MACHINES), "--duration", "1", "--warmup", "3", "--cooldown", "0.2", "--timeout", "5",
        "--json", str(path), *how, **other,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    stored = json.loads(path.read_text())
    VALIDATOR.validate(stored)
    assert [each["name"] for each in stored["machines"]] == NAMES, "in the order of the numbers in their names"
    assert [each["part"]["first_flow"] for each in stored["machines"]] == list(range(MACHINES))
    for each in stored["machines"]:
        assert each["result"]["tally"]["intended"] == pytest.approx(EACH, abs=1)
        assert each["result"]["tally"]["answered"] == each["result"]["tally"]["intended"]
        assert not made.generators(each["name"])
    assert stored["tally"]["answered"] == sum(each["result"]["tally"]["answered"] for each in stored["machines"])


def test_workers_of_dask(machines, tmp_path):
    scheduler(machines)
    registered(*[worker(machines, number)[1] for number in range(MACHINES)])
    together(machines, tmp_path / "r.json", "--cluster", SCHEDULER)


@needs_sshd
def test_over_ssh(machines, tmp_path):
    environment = prepare(machines.folder)
    for number in range(MACHINES):
        sshd(machines, number)
    together(machines, tmp_path / "r.json", "--ssh", ",".join(NAMES), "--ssh-python", sys.executable, env=environment)
