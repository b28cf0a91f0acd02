"""The rules and the dashboard of the docs, by Prometheus itself: a server, a known load, and what it makes of it.

They are skipped with the reason where promtool and prometheus are not installed.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest
from rigs.helpers import datagram_client, exchange, program, run, wait_for
from rigs.metered import get, url_of
from rigs.places import DOCS

from .test_collector import exposed, sample
from .test_metrics_docs import names

FOLDER = DOCS / "metrics"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def plain(expression, window="1m"):
    """An expression as Grafana sends it."""
    return expression.replace("$__rate_interval", window).replace("$instance", ".+")


def test_the_rules():
    done = run([program("promtool"), "check", "rules", str(FOLDER / "alerts.yml")], FOLDER)
    assert done.returncode == 0, done.stdout
    done = run([program("promtool"), "check", "config", str(FOLDER / "prometheus.yml")], FOLDER)
    assert done.returncode == 0, done.stdout


def test_each_alert_fires_and_is_silent_as_its_test_says():
    done = run([program("promtool"), "test", "rules", str(FOLDER / "alerts.test.yml")], FOLDER)
    assert done.returncode == 0, done.stdout
    alerts = re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", (FOLDER / "alerts.test.yml").read_text())
    assert sorted(2 * alerts) == sorted(tested)


def test_the_metrics():
    for text in (exposed(sample()), exposed(sample("0"), sample("1"))):
        command = [program("promtool"), "check", "metrics"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=110)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_rules_and_dashboard_name_metrics_that_exist():
    for text in (*EXPRESSIONS, (FOLDER / "alerts.yml").read_text()):
        for name in re.findall(r"(?<![\w:])(?:echobench|process)_\w+(?![\w:])", text):  # no rule's own name
            assert re.sub(r"_(bucket|sum|count)$", "", name) in names(), name


def test_the_dashboard_is_one_that_grafana_takes():
    assert DASHBOARD["uid"] == "echobench"
    assert DASHBOARD["title"]
    assert DASHBOARD["schemaVersion"] >= 36
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


class Prometheus:
    """A Prometheus that asks one server four times a second."""

    def __init__(self, folder, target):
        rules = FOLDER / "alerts.yml"
        config = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"},
            "scrape_configs": [{"job_name": "echobench", "static_configs": [{"targets": [target]}]}],
            "rule_files": [str(rules)],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.process = subprocess.Popen(
            [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.url.removeprefix('http://')}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, expression):
        """Query once; give the result, or None while there is no answer."""
        query = urllib.parse.urlencode({"query": expression})
        with contextlib.suppress(OSError):
            status, text, _ = get(f"{self.url}/api/v1/query?{query}")
            if status == 200:
                return json.loads(text)["data"]["result"]
        return None

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def watched(launch, tmp_path):
    server = launch("--interface", "127.0.0.1", "--metrics", "0")
    prometheus = Prometheus(tmp_path, urllib.parse.urlsplit(url_of(server)).netloc)
    yield server, prometheus
    prometheus.stop()


@pytest.mark.slow
def test_rates_are_those_of_a_known_load_and_no_panel_is_empty(watched):
    server, prometheus = watched
    wait_for(lambda: prometheus.ask('up{job="echobench"} == 1'), 60)
    wait_for(lambda: prometheus.ask("sum(echobench_datagrams_total) == 0"), 60)
    assert exchange(server.port(), [b"x" * 1000] * 3) == b"x" * 3000
    with datagram_client(server.port()) as client:
        for _ in range(400):
            client.send(b"known load")
            assert client.recv(100) == b"known load"
            threading.Event().wait(0.01)
    wait_for(lambda: prometheus.ask('echobench_datagrams_total{family="ipv4"} == 400'), 60)
    time.sleep(1)  # some more scrapes, so that the window has samples after the load
    assert prometheus.ask('echobench_echoed_bytes_total{transport="udp", family="ipv4"} == 4000')
    assert prometheus.ask('echobench_echoed_bytes_total{transport="tcp"} == 3000')
    assert prometheus.ask('echobench_datagrams_dropped_total{reason="kernel"} == 0')
    [series] = prometheus.ask('echobench_datagrams_total{family="ipv4"}[5m]')
    values = [float(value) for _, value in series["values"]]
    assert (values[0], values[-1]) == (0, 400)
    # rate() takes the samples to reach beyond the first and the last one, by 1.1 mean intervals at each end at most.
    [value] = prometheus.ask('rate(echobench_datagrams_total{family="ipv4"}[5m])')
    assert 400 <= float(value["value"][1]) * 300 <= 400 * (1 + 2.2 / (len(values) - 1))
    for expression in EXPRESSIONS:
        assert prometheus.ask(plain(expression)), expression
    assert prometheus.ask('ALERTS{alertname="EchobenchDown"}') == []
