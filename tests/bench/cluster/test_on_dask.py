"""A real Dask scheduler and real workers, on machines with addresses of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from rigs.blast_results import VALIDATOR
from rigs.dask_machines import PORT, SCHEDULER, registered, scheduler, worker
from rigs.helpers import wait_for
from rigs.load_machines import LEADER, SERVER, address, needs_namespaces, network, serving

pytest.importorskip("distributed", reason="the extra cluster is not installed")
pytestmark = [pytest.mark.slow, needs_namespaces]

MACHINES = 2
ECHOBENCH = [sys.executable, "-m", "echobench"]
LONG = ("--duration", "60")
"""Of a run that something ends before."""


def said(path, text):
    """Whether a process has written something."""
    return text in path.read_text()


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Two machines, a scheduler and a server."""
    with network(tmp_path_factory.mktemp("cluster"), MACHINES) as made:
        scheduler(made)
        made.port = serving(made)
        made.workers = {}
        yield made


@pytest.fixture
def cluster(machines):
    """Give the machines, each with a worker that has seen no harm."""
    for number in range(MACHINES):
        if number not in machines.workers:
            machines.workers[number], output = worker(machines, number)
            registered(output)
    return machines


@pytest.fixture
def harmed(cluster):
    """Give the machines, of which the second will not be the same again."""
    yield cluster
    os.killpg(cluster.workers.pop(1).pid, signal.SIGKILL)
    wait_for(lambda: not cluster.processes(address(1)))
    cluster.mend(address(1))


def command(made, *options, what="blast", where=SCHEDULER):
    return [*ECHOBENCH, what, f"{SERVER}:{made.port}", "--flows", "6", "--cluster", where, *options]


QUICK = ("--duration", "0.5", "--warmup", "2", "--cooldown", "0.1", "--timeout", "5")


def test_two_machines_give_one_page(cluster, tmp_path):
    files = [str(tmp_path / name) for name in ("r.json", "r.html")]
    done = cluster.run(
        LEADER, *command(cluster, *QUICK, "--udp", "--rate", "400", "--source-ports", "20000-20005", "--interval",
                         "0.25", "--json", files[0], "--html", files[1]),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    stored = json.loads((tmp_path / "r.json").read_text())
    VALIDATOR.validate(stored)
    names = [address(number) for number in range(MACHINES)]
    assert [each["name"] for each in stored["machines"]] == names
    assert [each["part"]["source_ports"] for each in stored["machines"]] == [
        [20000, 20002],
        [20003, 20005],
    ]
    assert [each["result"]["tally"]["intended"] for each in stored["machines"]] == pytest.approx([100] * 2, abs=4)
    assert stored["tally"]["answered"] == sum(each["result"]["tally"]["answered"] for each in stored["machines"])
    for each in stored["machines"]:  # they are all this computer, whose clock is one
        assert abs(each["clock"]["ahead"]) <= each["clock"]["error"] + 1_000_000
    for name in names:
        assert re.search(rf"^{re.escape(name)} +3 ", done.stdout, re.MULTILINE), done.stdout
        assert name in (tmp_path / "r.html").read_text()
        assert re.search(rf" s  {re.escape(name)}: ", done.stderr), done.stderr
    assert "together: " in done.stderr
    assert f"{SCHEDULER} is not protected" in done.stderr
    for number in range(MACHINES):
        assert not cluster.generators(address(number))


def test_a_sweep_uses_the_same_machines_for_all_steps(cluster, tmp_path):
    path = tmp_path / "sweep.json"
    done = cluster.run(
        LEADER, *command(cluster, "--udp", "--limit", "loss<=100%", "--from-rate", "100", "--to-rate", "1600",
                         "--step-duration", "0.5", "--repeats", "1", "--warmup", "1", "--json", str(path),
                         what="sweep"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads(path.read_text())["steps"]
    assert len(steps) >= 2
    assert all(len(step["result"]["machines"]) == MACHINES for step in steps)


def test_a_comparison_is_loaded_from_the_machines(cluster, tmp_path):
    path = tmp_path / "comparison.json"
    done = cluster.run(
        SERVER, *ECHOBENCH, "compare", "--cluster", SCHEDULER, "--host", SERVER, "--rounds", "1", "--load",
        "few=--udp -c 6", "--duration", "0.5", "--idle-connections", "0", "--count-calls", "0", "--json", str(path),
        f"there={SERVER}:{cluster.port}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(path.read_text())["runs"]
    assert {run["subject"] for run in runs} == {"ideal", "there"}
    for run in runs:
        assert [each["name"] for each in run["result"]["machines"]] == [address(number) for number in range(MACHINES)]


def test_ctrl_c_ends_all_machines_and_reports(cluster, tmp_path):
    path = tmp_path / "r.json"
    process, output = cluster.start(
        LEADER, *command(cluster, *LONG, "--timeout", "0.5", "--interval", "0.2", "--json", str(path))
    )
    wait_for(lambda: said(output, "msg/s answered"))
    leader = next(each for each, line in cluster.processes(LEADER).items() if " blast " in line)
    os.kill(leader, signal.SIGINT)
    began = time.monotonic()
    assert process.wait(30) == 130, output.read_text()
    for number in range(MACHINES):
        assert not cluster.generators(address(number))
    print("ended after", time.monotonic() - began)
    stored = json.loads(path.read_text())
    assert stored["cut_short"]
    assert stored["tally"]["answered"] > 0


def killed(made):
    os.killpg(made.workers[1].pid, signal.SIGKILL)


def stopped(made):
    os.killpg(made.workers[1].pid, signal.SIGSTOP)


def cut(made):
    made.cut(address(1))


@pytest.mark.parametrize("harm", [killed, stopped, cut])
def test_a_machine_that_goes_missing_is_named(harmed, tmp_path, harm):
    files = [str(tmp_path / name) for name in ("r.json", "r.html")]
    process, output = harmed.start(
        LEADER, *command(harmed, *LONG, "--interval", "0.2", "--json", files[0], "--html", files[1])
    )
    wait_for(lambda: said(output, "msg/s answered"))
    harm(harmed)
    assert process.wait(100) == 1, output.read_text()
    stored = json.loads((tmp_path / "r.json").read_text())
    VALIDATOR.validate(stored)
    stays, gone = stored["machines"]
    assert stays["result"]["tally"]["answered"] > 0
    assert stays["result"]["cut_short"]
    assert gone["result"] is None
    assert gone["missing"]
    assert f"machine missing: 1 of 2 machines gave no result ({address(1)}: {gone['missing']})" in " ".join(
        output.read_text().split()
    )
    assert re.search(rf"^{re.escape(address(1))} .*missing", output.read_text(), re.MULTILINE)
    assert "machine missing" in (tmp_path / "r.html").read_text()
    wait_for(lambda: not harmed.generators(address(1)), 30)
    assert not harmed.generators(address(0))


def test_a_leader_that_is_killed_leaves_nothing_that_sends(cluster):
    process, output = cluster.start(LEADER, *command(cluster, *LONG, "--interval", "0.2"))
    wait_for(lambda: said(output, "msg/s answered"))
    os.killpg(process.pid, signal.SIGKILL)
    for number in range(MACHINES):
        wait_for(lambda number=number: not cluster.generators(address(number)), 30)


def test_a_scheduler_without_workers_and_one_that_is_not_there(tmp_path):
    with network(tmp_path, 0) as made:
        made.port = 7
        process, _ = scheduler(made)
        done = made.run(LEADER, *command(made))
        assert done.returncode == 1
        assert f"the scheduler {SCHEDULER} has no workers: start `dask worker {SCHEDULER} --nthreads 1`" in done.stderr
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = made.run(LEADER, *command(made))
        assert done.returncode == 1
        assert f"the scheduler {SCHEDULER} cannot be reached" in done.stderr
        assert "Traceback" not in done.stderr


def test_another_version_is_refused_before_anything_is_sent(tmp_path):
    """The one has another number, the other the same number and another file."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sitecustomize.py").write_text("import echobench\nechobench.__version__ = '0.0.7'\n")
    (tmp_path / "changed").mkdir()
    (tmp_path / "changed/sitecustomize.py").write_text(
        "import echobench.bench.cluster.identity as i\nfrom attrs import evolve\n"
        "o = i.ours()\ni.ours = lambda: evolve(o, source='0123456789ab')\n"
    )
    with network(tmp_path, 2) as made:
        scheduler(made)
        made.port = 7
        started = [
            worker(made, number, env={**os.environ, "PYTHONPATH": str(tmp_path / what)})
            for number, what in enumerate(("other", "changed"))
        ]
        registered(*(output for _, output in started))
        done = made.run(LEADER, *command(made))
        assert done.returncode == 1
        assert f"{address(0)}: it has echobench 0.0.7" in done.stderr
        assert "here is echobench " in done.stderr
        assert "install the same on all" in done.stderr
        os.killpg(started[0][0].pid, signal.SIGTERM)
        started[0][0].wait()
        done = made.run(LEADER, *command(made))
        assert done.returncode == 1
        assert f"{address(1)}: it has echobench" in done.stderr
        assert "(source 0123456789ab)" in done.stderr


def certificate(folder):
    """Make an authority that is a certificate, too, for both ends; give the three files."""
    key, made = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(made), "-subj", "/CN=load", "-addext", f"subjectAltName=IP:{LEADER}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return [str(made), str(made), str(key)]


def test_tls(tmp_path):
    files = certificate(tmp_path)
    tls = ["--tls-ca-file", files[0], "--tls-cert", files[1], "--tls-key", files[2]]
    where = f"tls://{LEADER}:{PORT}"
    with network(tmp_path, 2) as made:
        scheduler(made, *tls, "--protocol", "tls", begins="tls")
        registered(*[worker(made, number, *tls, scheduler=where)[1] for number in range(2)])
        made.port = serving(made)
        path = tmp_path / "r.json"
        done = made.run(
            LEADER, *command(made, *QUICK, "--cluster-tls", ",".join(files), "--json", str(path), where=where)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        text = path.read_text()
        assert len(json.loads(text)["machines"]) == 2
        secret = (tmp_path / "key.pem").read_text().splitlines()[1]
        assert secret not in text
        assert "is not protected" not in done.stderr
        done = made.run(LEADER, *command(made))  # without TLS
        assert done.returncode == 1
        assert "cannot be reached" in done.stderr
