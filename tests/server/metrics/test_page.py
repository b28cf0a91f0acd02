"""The live page: what it keeps, what it tells, and how a real browser sees it."""

from __future__ import annotations

import json
import re
import socket
import threading

import attrs
import pytest
from rigs.browser import browser
from rigs.helpers import LIMIT, ask, blocking, datagram_client, exchange, needs_linux, port_of, until, wait_for
from rigs.metered import get, url_of

from echobench import Reason, Snapshot
from echobench.server.metrics.page import events
from echobench.server.metrics.page.history import LENGTH, History, Point, between, plain
from echobench.server.metrics.page.render import page
from echobench.server.metrics.sample import Process, State

from .test_collector import sample
from .test_site import metered  # noqa: F401


def worker(name, datagrams, cpu, **more):
    counters = Snapshot(datagrams=datagrams, open_connections=1, drops={Reason.UDP_RATE: datagrams // 10})
    return sample(name, counters=counters, process=Process(cpu, 1.0), **more)


def test_what_happened_between_two_looks():
    before = [worker("0", 100, 1.0), worker("1", 100, 1.0)]
    after = [worker("0", 400, 1.5, delay=0.003), worker("1", 200, 1.0, delay=0.002, state=State.SILENT)]
    point = between(before, after, 2.0)
    assert point.datagrams == 200
    assert point.drops == {"udp_rate": 20}
    assert point.dropped == {"udp_rate": 60}
    assert point.connections == 2
    assert point.delay == 3
    assert point.skew == 1.5
    assert point.workers == {
        "0": {"messages": 150, "cpu": 0.25, "state": "serves"},
        "1": {"messages": 50, "cpu": 0, "state": "does not report"},
    }
    assert point.datagram_batch == 0, "no batch in between"


def test_a_parent_is_no_worker():
    parent = worker("parent", 0, 9.0, delay=5.0, parent=True)
    point = between([worker("0", 0, 0), parent], [worker("0", 10, 0), parent], 1.0)
    assert (point.datagrams, point.delay, point.skew, [*point.workers]) == (10, 0, 1, ["0"])


def test_five_minutes_are_kept():
    now = iter(range(1000))
    numbers = iter(range(1000))
    history = History(lambda: [worker("0", next(numbers), 0)], lambda: next(now))
    told = []
    history.watchers.append(told.append)
    for _ in range(LENGTH + 11):
        history.tick()
    assert len(history.points) == LENGTH
    assert len(told) == LENGTH + 10
    assert {point.datagrams for point in history.points} == {1}


def test_samples_of_others_save_a_look_unless_a_page_is_open():
    """A server that is asked for metrics once a second looks at itself once a second, and not twice."""
    now, asked = [1.0], []
    history = History(lambda: asked.append(now[0]) or [worker("0", int(100 * now[0]), 0)], lambda: now[0])
    history.tick()
    now[0] = 1.9
    history.offer([worker("0", 190, 0)])
    now[0] = 2.0
    history.tick()
    assert asked == [1.0]
    now[0] = 3.0
    history.tick()
    assert asked == [1.0, 3.0]
    assert [round(point.datagrams) for point in history.points] == [100, 100], "each for the time that it is of"
    history.watchers.append(lambda point: None)
    now[0] = 3.9
    history.offer([worker("0", 9999, 0)])
    now[0] = 4.0
    history.tick()
    assert asked == [1.0, 3.0, 4.0]
    assert round(history.points[-1].datagrams) == 100


def test_metrics_that_are_asked_for_soon_after_each_tick_save_looks_too():
    now, asked = [1.0], []
    history = History(lambda: asked.append(now[0]) or [worker("0", round(1000 * now[0]), 0)], lambda: now[0])
    history.tick()
    for second in range(1, 9):
        now[0] = second + 0.001
        history.offer([worker("0", round(1000 * now[0]), 0)])
        now[0] = second + 1.0
        history.tick()
    assert asked == [1.0, 2.0], "two of them are too close to a look: the first has another one made, the second none"
    assert {round(point.datagrams) for point in history.points} == {1000}
    assert len(history.points) == 7


def test_it_is_readable_without_javascript():
    history = History(lambda: [worker("<0>", 100, 0)], iter((1.0, 2.0)).__next__)
    assert "Nothing is served yet" in page(history)
    history.tick()
    history.tick()
    text = page(history)
    assert "Serves tcp by completion, udp by batched." in text
    assert '<th scope="row">udp_rate</th><td>10</td><td>0.0</td>' in text
    assert "<strong>Faults on purpose: this server misbehaves as asked: udp:drop=1%,seed=7</strong>" in text
    assert "&lt;0&gt;" in text
    assert "<0>" not in text
    assert not re.search(r"""(src|href)="(?!/[a-z.-]*/?[a-z.-]*")|\son\w+=|style=""", text), "the policy forbids it"


def read_event(stream, name):
    for line in stream:
        if line.strip() == f"event: {name}":
            return json.loads(next(stream).removeprefix("data: "))
    raise AssertionError(f"no {name} came")


def listen(url):
    sock = socket.create_connection(("127.0.0.1", int(url.split(":")[2].strip("/"))), LIMIT)
    sock.sendall(b"GET /events HTTP/1.0\r\n\r\n")
    return sock


def test_events(metered, engine):  # noqa: F811
    echo, url = metered(engine=engine)
    with blocking(listen, url) as sock, sock.makefile() as stream:
        assert blocking(read_event, stream, "history") == []
        assert blocking(ask, port_of(echo), b"123") == b"123"

        def bytes_counted():
            points = []
            while not sum(each["datagram_bytes"] for each in points) and len(points) < LIMIT:
                points.append(read_event(stream, "point"))
            return points

        points = blocking(bytes_counted)
        assert points[-1]["datagram_bytes"] > 0
        assert set(points[0]) == {field.name for field in attrs.fields(Point)}
    with blocking(listen, url) as sock, sock.makefile() as stream:
        assert len(blocking(read_event, stream, "history")) >= len(points)


def test_pages_are_bounded(metered, monkeypatch):  # noqa: F811
    monkeypatch.setattr(events, "MOST_PAGES", 1)
    _, url = metered()
    with blocking(listen, url) as sock, sock.makefile() as stream:
        blocking(read_event, stream, "history")
        assert blocking(get, url + "events")[:2] == (503, "1 pages are open already\n")
    until(lambda: blocking(get_first_line, url).endswith(" 200 OK"))


def get_first_line(url):
    with listen(url) as sock, sock.makefile() as stream:
        return stream.readline().strip()


class Request:
    """Takes what a page is sent."""

    def __init__(self):
        self.written, self.aborted = [], False
        self.channel = self.transport = self

    def write(self, data):
        self.written.append(data)

    def abortConnection(self):
        self.aborted = True


def test_a_page_that_does_not_read_misses_points_and_is_ended():
    request = Request()
    watcher = events.Watcher(request)
    watcher.pauseProducing()
    for _ in range(events.PATIENCE):
        watcher.point(Point())
    assert (request.written, request.aborted) == ([], False)
    watcher.resumeProducing()
    watcher.point(Point())
    assert json.loads(request.written[0].partition(b"data: ")[2]) == plain(Point())
    watcher.pauseProducing()
    for _ in range(events.PATIENCE + 1):
        watcher.point(Point())
    assert request.aborted


STRUCTURE = """({
  lang: document.documentElement.lang,
  headings: [...document.querySelectorAll("h1, h2")].filter((e) => e.offsetParent).map((e) => e.textContent),
  unnamed: [...document.querySelectorAll("svg[role=img]")].filter((e) => !e.getAttribute("aria-label")).length,
  charts: document.querySelectorAll("svg[role=img] polyline").length,
  captions: [...document.querySelectorAll("table")].filter((e) => !e.caption).length,
  loose: [...document.querySelectorAll("th")].filter((e) => !e.scope).length,
  landmarks: [...document.querySelectorAll("header, main, footer")].length,
  wider: document.documentElement.scrollWidth - innerWidth,
})"""

CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll("h1, p, a, td, th, caption, button, figcaption span")].map((e) => {
    const own = light(getComputedStyle(e).color);
    return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
  }));
})()"""


@needs_linux
@pytest.mark.slow
def test_in_a_real_browser(launch):
    """Of two workers, of which one has all the load, since it is one flow."""
    server = launch("--interface", "127.0.0.1", "--workers", "2", "--metrics", "0")
    url = url_of(server)
    over = threading.Event()

    def load():
        with datagram_client(server.port()) as client:
            while not over.wait(0.01):
                client.send(b"x" * 100)
                client.recv(200)

    loader = threading.Thread(target=load)
    loader.start()
    try:
        with browser() as seen:
            seen.look(1280, 900)
            seen.open(url)
            seen.wait_for("points.length > 1 && points.at(-1).datagrams > 0")
            moved = seen.value("document.querySelector('polyline').getAttribute('points')")
            seen.wait_for(f"document.querySelector('polyline').getAttribute('points') !== {json.dumps(moved)}")
            found = seen.value(STRUCTURE)
            assert found["lang"] == "en"
            assert found["headings"] == ["echobench", "The last five minutes", "Now"]
            assert found["charts"] == 11
            assert [found[each] for each in ("unnamed", "captions", "loose")] == [0, 0, 0]
            assert found["landmarks"] == 3
            assert seen.value("document.querySelector('[data-field=datagrams]').textContent") != "0"
            assert seen.value("document.getElementById('workers').rows.length") == 2
            seen.wait_for("document.querySelector('[data-field=skew]').textContent === '2.00'")
            for width, dark in ((1280, False), (1280, True), (390, False), (390, True), (320, False)):
                seen.look(width, 800, dark=dark)
                assert seen.value(STRUCTURE)["wider"] <= 0, width
                assert seen.value(CONTRAST) >= 4.5, (width, dark)
            seen.tell("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
            assert seen.value("document.activeElement.id") == "pause"
            seen.tell("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r",
                      windowsVirtualKeyCode=13)  # fmt: skip
            assert seen.value("document.getElementById('state').textContent") == "Paused."
            assert seen.complaints() == []
            assert {each.startswith(url) for each in seen.requests()} == {True}
            over.set()
            assert server.stop() != 0  # a signal's
            seen.wait_for("document.getElementById('state').textContent.startsWith('The server does not answer')")
    finally:
        over.set()
        loader.join()


@pytest.mark.slow
def test_in_a_real_browser_without_javascript(launch):
    server = launch("--interface", "127.0.0.1", "--metrics", "0")
    url = url_of(server)
    assert exchange(server.port(), [b"x"]) == b"x"
    wait_for(lambda: 'scope="row">0</th>' in get(url)[1])
    with browser() as seen:
        seen.tell("Emulation.setScriptExecutionDisabled", value=True)
        seen.open(url)
        assert seen.value(STRUCTURE)["headings"] == ["echobench", "Now"]
        assert seen.value("document.getElementById('pause').offsetParent") is None
        assert seen.value("document.getElementById('now').rows.length") == 9
        assert seen.complaints() == []
