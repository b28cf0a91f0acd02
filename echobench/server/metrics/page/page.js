// Draws what the server tells, once a second. It sends nothing but the question for events.
"use strict";

const LENGTH = 300; // seconds on a chart
const SVG = "http://www.w3.org/2000/svg";
const sum = (object) => Object.values(object).reduce((a, b) => a + b, 0);
const CHARTS = [
  ["Messages per second", [["datagrams", (p) => p.datagrams], ["reads", (p) => p.reads]], 0],
  ["Bytes per second", [["of datagrams", (p) => p.datagram_bytes], ["of streams", (p) => p.stream_bytes]], 0],
  ["Connections open", [["connections", (p) => p.connections]], 0],
  ["Dropped, refused or ended per second", [["all reasons", (p) => sum(p.drops)]], 1],
  ["Messages in a batch, mean", [["datagrams", (p) => p.datagram_batch], ["reads", (p) => p.stream_batch]], 1],
  ["Delay of the reactor, ms", [["delay", (p) => p.delay]], 1],
  ["Busiest worker, over the mean", [["workers", (p) => p.skew]], 2],
  ["CPU, in % of one", [["all workers", (p) => 100 * sum(Object.values(p.workers).map((w) => w.cpu))]], 1],
];
const DIGITS = { datagram_batch: 1, stream_batch: 1, delay: 1, skew: 2 };

let points = [];
let paused = false;
const byId = (id) => document.getElementById(id);
const written = (number, digits) =>
  number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function made(name, parent, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  parent.append(element);
  return element;
}

const charts = CHARTS.map(([title, lines, digits]) => {
  const figure = made("figure", byId("charts"));
  const caption = made("figcaption", figure, title);
  const values = made("span", caption);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${LENGTH - 1} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  figure.append(svg);
  const polylines = lines.map(() => svg.appendChild(document.createElementNS(SVG, "polyline")));
  const axis = made("div", figure, undefined, "axis");
  made("span", axis, "5 minutes ago");
  const top = made("span", axis);
  made("span", axis, "now");
  return { title, lines, digits, values, svg, polylines, top };
});

function fill(id, rows) {
  byId(id).replaceChildren(...rows.map(([head, ...cells]) => {
    const row = document.createElement("tr");
    made("th", row, head).scope = "row";
    cells.forEach((each) => made("td", row, each));
    return row;
  }));
}

function draw() {
  for (const { title, lines, digits, values, svg, polylines, top } of charts) {
    const series = lines.map(([, of]) => points.map(of));
    const most = Math.max(...series.flat(), 0);
    const scale = most > 0 ? 98 / most : 0;
    series.forEach((numbers, i) => {
      const first = LENGTH - numbers.length;
      polylines[i].setAttribute(
        "points", numbers.map((n, at) => `${first + at},${(99 - n * scale).toFixed(1)}`).join(" "));
    });
    values.replaceChildren();
    lines.forEach(([name], i) => {
      const last = series[i].at(-1) ?? 0;
      made("span", values, `${i ? " · " : ""}${name} ${written(last, digits)}`, i ? "second" : "first");
    });
    top.textContent = `top: ${written(most, digits)}`;
    svg.setAttribute("aria-label", `${title}, last five minutes: ${values.textContent}, at most ${written(most, digits)}`);
  }
  const point = points.at(-1);
  if (!point) return;
  for (const cell of document.querySelectorAll("[data-field]")) {
    const name = cell.dataset.field;
    cell.textContent = written(point[name], DIGITS[name] ?? 0);
  }
  const drops = Object.entries(point.dropped);
  fill("drops", drops.length ? drops.map(
    ([name, number]) => [name, written(number, 0), written(point.drops[name] ?? 0, 1)]) : [["none", "0", "0.0"]]);
  fill("workers", Object.entries(point.workers).map(
    ([name, worker]) => [name, written(worker.messages, 0), written(100 * worker.cpu, 1), worker.state]));
  [...byId("workers").rows].forEach((row) => { row.className = row.lastChild.textContent === "serves" ? "up" : "down"; });
}

function tell(text) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
}

const events = new EventSource("/events");
events.addEventListener("history", (event) => {
  points = JSON.parse(event.data);
  tell(paused ? "Paused." : "New numbers come once a second.");
  if (!paused) draw();
});
events.addEventListener("point", (event) => {
  const point = JSON.parse(event.data);
  points = [...points, point].slice(-LENGTH);
  if (!paused) draw();
});
events.onerror = () => tell(events.readyState === EventSource.CLOSED
  ? "The server sends no numbers: too many pages are open, or it has stopped. Reload the page to try again."
  : "The server does not answer. Trying again.");

byId("charts").hidden = false;
byId("pause").hidden = false;
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").textContent = paused ? "Go on" : "Pause";
  tell(paused ? "Paused." : "New numbers come once a second.");
  if (!paused) draw();
});
draw();
