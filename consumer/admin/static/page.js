// Draws the status. Data become text nodes and attributes of our own, never markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const POLL_SECONDS = 5;
const STREAM_AGAIN_SECONDS = 60;
const QUIET_SECONDS = 15; // without news: the figures are old, and that is said
const DAY_MS = 86400000;

const COLOURS = {
  ready: "good", degraded: "warn", starting: "warn", draining: "warn",
  "not ready": "bad", "not alive": "bad",
  closed: "good", "half-open": "warn", open: "bad",
  succeeded: "good", deleted: "good", superseded: "", partial: "warn", failed: "bad", invalid: "bad",
};

// -- elements

// An object in the first place, and only there, holds attributes: they are never data.
function el(name, ...parts) {
  const made = document.createElement(name);
  if (parts.length && parts[0] !== null && typeof parts[0] === "object" && !(parts[0] instanceof Node)) {
    for (const [key, value] of Object.entries(parts.shift())) made.setAttribute(key, String(value));
  }
  for (const part of parts) {
    if (part === null || part === undefined) continue;
    made.append(part instanceof Node ? part : document.createTextNode(String(part)));
  }
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function tag(text) {
  return el("span", { class: `tag ${Object.hasOwn(COLOURS, text) ? COLOURS[text] : ""}` }, text);
}

function none(text) {
  return el("p", { class: "none" }, text);
}

// columns: [heading, "number" or "", row => text, Node or null]
function table(columns, rows) {
  const head = el("tr", ...columns.map(([name, kind]) => el("th", { class: kind, scope: "col" }, name)));
  const cell = ([name, kind, content], row) => {
    const shown = content(row);
    const isEmpty = shown === null || shown === undefined || shown === "";
    return el("td", { class: kind, "data-name": name }, isEmpty ? null : el("div", shown));
  };
  const body = rows.map((row) => el("tr", ...columns.map((column) => cell(column, row))));
  return el("table", el("thead", head), el("tbody", ...body));
}

// -- figures

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(value) {
  return value === null ? "?" : whole.format(value);
}

function rate(value) {
  if (value === null) return "–";
  return value >= 100 ? whole.format(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function span(seconds) {
  if (seconds === null) return "–";
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 100) return `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function bytes(value) {
  for (const [unit, size] of [["MiB", 1048576], ["KiB", 1024]]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${value} B`;
}

function trial(seconds) {
  if (seconds === null) return "";
  return seconds > 0 ? `in ${span(seconds)}` : "now";
}

// With its date where that is a day ago: such a time alone would look like today's.
function clock(text) {
  const at = new Date(text), time = at.toLocaleTimeString("en-GB");
  return Date.now() - at.getTime() < DAY_MS ? time : `${at.toLocaleDateString("en-CA")} ${time}`;
}

// -- charts

function chart(series, unit) {
  const box = el("div");
  const width = Math.max(document.getElementById("done").clientWidth - 30, 200), height = 150;
  const left = 40, right = width - 6, top = 8, bottom = height - 20;
  const values = series.flatMap((one) => one.points.map(([, value]) => value)).filter((value) => value !== null);
  const most = nice(Math.max(0, ...values));
  const x = (ago) => right - (Math.min(ago, 600) / 600) * (right - left);
  const y = (value) => bottom - (value / most) * (bottom - top);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": series.map((one) => `${one.name}: ${latest(one.points, unit)}`).join(", ") });
  for (const part of [0, 0.5, 1]) {
    svg.append(drawn("line", { x1: left, x2: right, y1: y(most * part), y2: y(most * part), class: "grid" }));
    svg.append(drawn("text", { x: left - 6, y: y(most * part) + 4, "text-anchor": "end" }, axis(most * part)));
  }
  for (const minutes of [10, 5, 0]) {
    const anchor = minutes === 10 ? "start" : minutes === 0 ? "end" : "middle";
    const text = minutes === 0 ? "now" : `${minutes} min ago`;
    svg.append(drawn("text", { x: x(minutes * 60), y: height - 4, "text-anchor": anchor }, text));
  }
  for (const one of series) {
    for (const run of runs(one.points)) {
      const points = run.map(([ago, value]) => `${x(ago).toFixed(1)},${y(value).toFixed(1)}`);
      svg.append(drawn("polyline", { points: points.join(" "), class: `line ${one.colour}` }));
    }
  }
  const legend = el("div", { class: "legend" }, ...series.map((one) =>
    el("span", { class: one.colour }, `${one.name} ${latest(one.points, unit)}`)));
  box.append(svg, legend);
  return box;
}

function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= value);
}

function axis(value) {
  return value === 0 ? "0" : String(Number(value.toPrecision(2)));
}

function latest(points, unit) {
  const last = points.length ? points[points.length - 1][1] : null;
  return last === null ? "–" : unit === "s" ? span(last) : `${rate(last)}/s`;
}

// What stands between gaps: a line over a time in which nothing was uploaded would be made up.
function runs(points) {
  const found = [];
  let run = [];
  for (const point of [...points, [0, null]]) {
    if (point[1] !== null) { run.push(point); continue; }
    if (run.length === 1) run.push([Math.max(run[0][0] - 4, 0), run[0][1]]);
    if (run.length) found.push(run);
    run = [];
  }
  return found;
}

// -- sections; each gets the status and gives nodes

function figures(status) {
  const { partitions, lag, oldest_seconds: oldest } = status.totals;
  const { documents, uploads, failures, eta_seconds: eta } = status.pace;
  const figure = (value, name, kind) =>
    el("div", { class: "figure" }, el("b", { class: kind || "" }, value), el("span", name));
  return [
    figure(rate(documents), "documents a second"),
    figure(rate(uploads), "uploads a second"),
    figure(rate(failures), "failures a second", failures > 0 ? "warn" : ""),
    figure(partitions ? count(lag) : "–", "records of lag"),
    figure(partitions && eta ? span(eta) : "–", "until they are done, at this pace"),
    figure(oldest > 0 ? span(oldest) : "–", "age of the oldest unsettled", oldest > 600 ? "warn" : ""),
    figure(`${count(status.work.documents - status.work.aside)} of ${status.work.places}`, "documents in work"),
    figure(count(status.work.aside), "aside"),
    figure(count(status.letters.open), "open dead letters", status.letters.open ? "bad" : ""),
  ];
}

function reasons(status) {
  const lines = [
    ...status.reasons.map((one) => el("li", { class: "reason" }, one)),
    ...status.worries.map((one) => el("li", { class: "worry" }, one)),
  ];
  return lines.length ? [el("ul", ...lines)] : [];
}

function series(status, name) {
  return status.rates.map((one) => [one.ago, one[name]]);
}

function done(status) {
  return [chart([
    { name: "documents", colour: "first", points: series(status, "documents") },
    { name: "uploads", colour: "second", points: series(status, "uploads") },
  ], "")];
}

function latency(status) {
  return [chart([
    { name: "mean", colour: "first", points: series(status, "upload_mean") },
    { name: "95 % within", colour: "second", points: series(status, "upload_p95") },
  ], "s")];
}

function gates(status) {
  return status.servers.flatMap((server) => {
    const { breaker, fuse } = server;
    const until = breaker.state === "closed" ? "" : ` next trial ${trial(breaker.trial_in)}`;
    const share = `${Math.round(fuse.share * 100)} % of the last ${fuse.documents} documents used up their attempts`;
    const facts = [
      el("dt", "breaker"), el("dd", tag(breaker.state), until,
        breaker.last_error ? el("span", { class: "quiet" }, ` last failure ${clock(breaker.last_failure_at)}: ${breaker.last_error}`) : null),
      el("dt", "fuse"), el("dd", el("span", { class: `tag ${fuse.blown ? "bad" : "good"}` }, fuse.blown ? "blown" : "whole"),
        fuse.blown ? ` next trial ${trial(fuse.trial_in)}` : "", el("span", { class: "quiet" }, ` ${share}`)),
    ];
    if (breaker.rest > 0) facts.push(el("dt", "rest"), el("dd", `asked for by AnythingLLM, over in ${span(breaker.rest)}`));
    if (breaker.alone) facts.push(el("dt", "alone"), el("dd", "one chunk is tried alone, all else waits"));
    const paused = server.workspaces.length ? table([
      ["paused", "", (row) => row.workspace],
      ["next trial", "number", (row) => trial(row.trial_in)],
      ["waiting", "number", (row) => count(row.waiting)],
      ["why", "", (row) => row.error],
    ], server.workspaces) : none("No workspace is paused.");
    const more = server.paused - server.workspaces.length;
    return [server.name === null ? null : el("h3", server.name), el("dl", ...facts), paused,
      more > 0 ? none(`and ${more} more`) : null].filter((one) => one !== null);
  });
}

function waiting(status) {
  if (!status.work.waiting.length) return [none("Nothing waits.")];
  return [table([
    ["documents", "number", (row) => count(row.documents)],
    ["wait for", "", (row) => row.why],
    ["workspace", "", (row) => [row.server, row.workspace].filter((one) => one !== null).join(": ") || null],
    ["next trial", "number", (row) => trial(row.trial_in) || null],
  ], status.work.waiting)];
}

function progress(row) {
  if (row.chunks === null) return null;
  const { total, unchanged, uploaded, failed } = row.chunks;
  const box = el("span", el("progress", { max: Math.max(total, 1), value: unchanged + uploaded }),
    ` ${unchanged + uploaded} of ${total}`);
  if (failed) box.append(`, ${failed} failed`);
  return box;
}

function documents(status) {
  const { work } = status;
  document.querySelector("#documents small").textContent = work.documents > work.oldest.length
    ? `the ${work.oldest.length} oldest of ${count(work.documents)}` : `${bytes(work.bytes)} in flight`;
  if (!work.oldest.length) return [none("Nothing is in work.")];
  return [table([
    ["document", "", (row) => row.identity ?? row.at],
    ["workspace", "", (row) => row.workspace],
    ["chunks", "", progress],
    ["station", "", (row) => el("span", row.station, row.aside ? ", aside" : "", row.why === null ? "" : `, waits for ${row.why}`,
      row.error === null ? null : el("span", { class: "error" }, row.error))],
    ["since", "number", (row) => span(row.seconds)],
    ["record", "", (row) => row.at],
  ], work.oldest)];
}

function partitions(status) {
  if (!status.partitions.length) return [none("No partition is assigned to this instance.")];
  const more = status.totals.partitions - status.partitions.length;
  const shown = table([
    ["partition", "", (row) => `${row.topic}-${row.partition}`],
    ["lag", "number", (row) => count(row.lag)],
    ["stable lag", "number", (row) => count(row.stable_lag)],
    ["in work", "number", (row) => count(row.open)],
    ["oldest", "number", (row) => (row.open ? span(row.oldest_seconds) : "–")],
    ["held back", "number", (row) => (row.held_back ? count(row.held_back) : "–")],
  ], status.partitions);
  return more > 0 ? [shown, none(`and ${count(more)} more`)] : [shown];
}

function letters(status) {
  const { open, forgotten, causes } = status.letters;
  if (!open) return [none("None since this process began. Older ones: dlq stats.")];
  const shown = table([
    ["letters", "number", (row) => count(row.letters)],
    ["reason", "", (row) => (row.http_status === null ? row.reason : `${row.reason} ${row.http_status}`)],
    ["cause", "", (row) => el("span", row.message, el("span", { class: "quiet" },
      ` ${clock(row.latest)} ${row.workspace ?? ""} ${row.document}`))],
  ], causes);
  return [shown, none(`${forgotten ? `${count(forgotten)} more are not remembered. ` : ""}All of them: dlq list, dlq stats.`)];
}

function results(status) {
  if (!status.results.length) return [none("None yet.")];
  return [table([
    ["settled", "", (row) => clock(row.at)],
    ["status", "", (row) => tag(row.status)],
    ["document", "", (row) => row.document_id ?? row.identity ?? row.event_id],
    ["workspace", "", (row) => row.workspace],
    ["chunks", "number", (row) => (row.failed ? `${count(row.chunks)}, ${count(row.failed)} failed` : count(row.chunks))],
    ["took", "number", (row) => span(row.seconds)],
    ["error", "", (row) => row.error || null],
  ], status.results)];
}

function settings(status) {
  return [table([
    ["name", "", (row) => row.name],
    ["value", "", (row) => el("span", { class: row.is_default ? "" : "changed" }, row.value)],
    ["", "", (row) => (row.is_default ? "default" : null)],
  ], status.settings)];
}

const SECTIONS = { reasons, figures, done, latency, gates, waiting, documents, partitions, letters, results, settings };
const drawnLast = {};

function show(status) {
  const state = document.getElementById("state");
  state.textContent = status.state;
  state.className = `state ${Object.hasOwn(COLOURS, status.state) ? COLOURS[status.state] : ""}`;
  const { service } = status;
  document.title = `${status.state}: anythingllm-consumer`;
  document.getElementById("service").textContent =
    `group ${service.group}, ${service.instance}, release ${service.release}, up ${span(service.uptime_seconds)}`;
  for (const [name, draw] of Object.entries(SECTIONS)) {
    const section = document.getElementById(name);
    const nodes = draw(status);
    // What did not change is left alone: a selection in it stays.
    const before = drawnLast[name];
    if (before && before.length === nodes.length && before.every((node, n) => node.isEqualNode(nodes[n]))) continue;
    drawnLast[name] = nodes;
    section.hidden = name === "reasons" && !nodes.length;
    (section.querySelector(".body") || section).replaceChildren(...nodes);
  }
}

// -- news: a stream of events, or asking where there is no room for one more

let heardAt = Date.now();
let source = null;
let timer = null;

function heard(text, how) {
  show(JSON.parse(text));
  heardAt = Date.now();
  say(how, false);
}

function say(text, isLost) {
  const link = document.getElementById("link");
  link.textContent = text;
  link.className = isLost ? "quiet link lost" : "quiet link";
}

function listen() {
  stop();
  source = new EventSource("/status/events");
  source.addEventListener("status", (event) => heard(event.data, "live"));
  source.addEventListener("error", () => {
    // Connecting: the browser tries again by itself. Closed: it was refused and will not.
    if (source !== null && source.readyState === EventSource.CLOSED) ask(Date.now() + STREAM_AGAIN_SECONDS * 1000);
  });
}

async function ask(until) {
  stop();
  timer = setTimeout(() => (Date.now() < until ? ask(until) : listen()), POLL_SECONDS * 1000);
  try {
    const answer = await fetch("/status", { headers: { Accept: "application/json" } });
    if (answer.ok) heard(await answer.text(), `every ${POLL_SECONDS} s`);
  } catch (error) {
    // The next round asks again; how old the figures are is said below.
  }
}

function stop() {
  if (source !== null) source.close();
  source = null;
  clearTimeout(timer);
}

setInterval(() => {
  const seconds = (Date.now() - heardAt) / 1000;
  if (!document.hidden && seconds > QUIET_SECONDS) say(`no answer for ${span(seconds)}`, true);
}, 1000);

// A page that nobody sees takes no stream.
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
listen();
