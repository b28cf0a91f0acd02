"""A real sshd on each machine, on a port of its own, and the user's own ssh."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

import pytest
from rigs.blast_results import VALIDATOR
from rigs.helpers import wait_for
from rigs.load_machines import LEADER, SERVER, address, needs_namespaces, network, serving
from rigs.ssh_machines import needs_sshd, prepare, sshd

pytest.importorskip("execnet", reason="the extra cluster is not installed")
pytestmark = [
    pytest.mark.slow,
    needs_namespaces,
    needs_sshd,
]

MACHINES = 2
HOSTS = [address(number) for number in range(MACHINES)]
QUICK = ("--duration", "0.5", "--warmup", "2", "--cooldown", "0.1", "--timeout", "5")
LONG = ("--duration", "60", "--interval", "0.2")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    """Give machines with sshd, and an ssh in the PATH that knows key and port, as a user's own settings do."""
    folder = tmp_path_factory.mktemp("ssh")
    environment = prepare(folder)
    with network(folder, MACHINES) as made:
        made.sshd = [sshd(made, number) for number in range(MACHINES)]
        made.port = serving(made)
        made.environment = environment
        yield made


def command(made, *options, hosts=HOSTS, python=sys.executable):
    return [
        sys.executable, "-m", "echobench", "blast", f"{SERVER}:{made.port}", "--flows", "4", "--ssh", ",".join(hosts),
        "--ssh-python", python, *options,
    ]  # fmt: skip


def test_two_machines_give_one_page(ssh, tmp_path):
    path = tmp_path / "r.json"
    done = ssh.run(
        LEADER, *command(ssh, *QUICK, "--udp", "--rate", "400", "--processes", "2", "--json", str(path)),
        env=ssh.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    stored = json.loads(path.read_text())
    VALIDATOR.validate(stored)
    assert [each["name"] for each in stored["machines"]] == HOSTS
    assert [each["result"]["tally"]["intended"] for each in stored["machines"]] == pytest.approx([100] * 2, abs=4)
    assert [process["index"] for process in stored["processes"]] == [0, 1, 2, 3]
    for each in stored["machines"]:
        assert abs(each["clock"]["ahead"]) <= each["clock"]["error"] + 1_000_000
        assert not ssh.generators(each["name"])
    wait_for(lambda: not [line for line in ssh.processes(HOSTS[0]).values() if "python" in line])


def test_a_slow_wire_shows_in_the_stated_error(ssh, tmp_path):
    path = tmp_path / "r.json"
    with ssh.delayed(HOSTS[1], 0.02):
        done = ssh.run(LEADER, *command(ssh, *QUICK, "--json", str(path)), env=ssh.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    clock = json.loads(path.read_text())["machines"][1]["clock"]
    assert clock["error"] >= 9_000_000, "half of the 20 ms that an answer takes"
    assert abs(clock["ahead"]) <= clock["error"] + 1_000_000


def interrupt(made, process):
    """Do what Ctrl-C does in a terminal: it goes to every process of the group, ssh too."""
    os.killpg(process.pid, signal.SIGINT)


def test_ctrl_c_in_a_terminal_ends_all_machines_and_reports(ssh, tmp_path):
    path = tmp_path / "r.json"
    process, output = ssh.start(
        LEADER, *command(ssh, *LONG, "--timeout", "0.5", "--json", str(path)), env=ssh.environment
    )
    wait_for(lambda: "msg/s answered" in output.read_text())
    began = time.monotonic()
    interrupt(ssh, process)
    assert process.wait(30) == 130, output.read_text()
    assert not any(map(ssh.generators, HOSTS))
    print("ended after", time.monotonic() - began)
    stored = json.loads(path.read_text())
    assert stored["cut_short"]
    assert all(each["result"]["tally"]["answered"] > 0 for each in stored["machines"])


def sessions(made, number):
    """Give the processes of sshd that serve a connection on a machine."""
    return [each for each, line in made.processes(address(number)).items()
            if line.startswith("sshd") and "listener" not in line and each != made.sshd[number].pid]  # fmt: skip


def test_a_connection_that_is_killed_is_named_and_leaves_nothing_that_sends(ssh, tmp_path):
    path = tmp_path / "r.json"
    process, output = ssh.start(LEADER, *command(ssh, *LONG, "--json", str(path)), env=ssh.environment)
    wait_for(lambda: "msg/s answered" in output.read_text())
    for each in sessions(ssh, 1):
        os.kill(each, signal.SIGKILL)
    assert process.wait(100) == 1, output.read_text()
    stays, gone = json.loads(path.read_text())["machines"]
    assert stays["result"]["tally"]["answered"] > 0
    assert gone["missing"] == "the ssh connection to it has ended"
    wait_for(lambda: not any(map(ssh.generators, HOSTS)), 30)


def test_a_leader_that_is_killed_leaves_nothing_that_sends(ssh):
    process, output = ssh.start(LEADER, *command(ssh, *LONG), env=ssh.environment)
    wait_for(lambda: "msg/s answered" in output.read_text())
    os.killpg(process.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(ssh.generators, HOSTS)), 30)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hosts": [HOSTS[0], "10.77.0.99"]}, r"10\.77\.0\.99: no Python can be started there over ssh"),
        ({"python": "/nowhere/python"}, r"does `ssh -o BatchMode=yes 10\.77\.0\.10 /nowhere/python -V` work\?"),
    ],
)
def test_what_cannot_be_reached_is_named_before_anything_is_sent(ssh, options, sentence):
    done = ssh.run(LEADER, *command(ssh, **options), env=ssh.environment)
    assert done.returncode == 1
    assert re.search(sentence, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_a_python_without_echobench_and_another_version(ssh, tmp_path):
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    other = tmp_path / "other"
    (tmp_path / "sitecustomize.py").write_text("import echobench\nechobench.__version__ = '0.0.7'\n")
    other.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    for each in (bare, other):
        each.chmod(0o755)
    done = ssh.run(LEADER, *command(ssh, python=str(bare)), env=ssh.environment)
    assert done.returncode == 1
    assert "has no echobench" in done.stderr
    assert "--ssh-python" in done.stderr
    done = ssh.run(LEADER, *command(ssh, python=str(other)), env=ssh.environment)
    assert done.returncode == 1
    assert f"{HOSTS[0]}: it has echobench 0.0.7 (source" in done.stderr
