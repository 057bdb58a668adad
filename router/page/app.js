"use strict";

const $ = (id) => document.getElementById(id);

// Everything that comes from an instance is set as text, never as markup.
function cell(text, cls) {
  const td = document.createElement("td");
  td.textContent = text;
  if (cls) td.className = cls;
  return td;
}

function shape(name, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

const shorten = (s, n) => (s.length > n ? "…" + s.slice(1 - n) : s);

const boxWidth = 260, boxHeight = 46, gap = 14, width = 1000;

// box draws one instance and returns where its flows begin or end.
function box(svg, i, x, y) {
  const kind = i.usable ? (x === 0 ? "prefill" : "decode") : "out";
  svg.append(shape("rect", { x, y, width: boxWidth, height: boxHeight, rx: 8, class: "box " + kind }));
  svg.append(shape("text", { x: x + 12, y: y + 19 }, shorten(i.id, 32)));
  const load = x === 0
    ? i.in_flight_prefills + " in flight, " + Math.round(i.prefill_bytes / 1024) + " KiB to compute"
    : i.in_flight_decodes + " in flight" + (i.reported_kv_usage === undefined ? "" : ", KV cache " + Math.round(100 * i.reported_kv_usage) + " %");
  svg.append(shape("text", { x: x + 12, y: y + 36, class: "small" }, i.usable ? load : shorten(i.reason, 38)));
  return y + boxHeight / 2;
}

function topology(status) {
  const svg = $("topology");
  svg.replaceChildren();
  const all = status.instances || [];
  const prefills = all.filter((i) => i.role === "prefill" || i.role === "both");
  const decodes = all.filter((i) => i.role === "decode" || i.role === "both");
  const rows = Math.max(prefills.length, decodes.length, 1);
  const height = rows * (boxHeight + gap) + 30;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", `${prefills.length} prefill and ${decodes.length} decode instances`);
  const right = width - boxWidth;
  svg.append(shape("text", { x: 0, y: 14, class: "head" }, "prefill"), shape("text", { x: right, y: 14, class: "head" }, "decode"));
  const flowsAt = svg.appendChild(shape("g", {}));
  const place = (list, x) => new Map(list.map((i, n) => [i.id, box(svg, i, x, 26 + n * (boxHeight + gap))]));
  const from = place(prefills, 0), to = place(decodes, right);
  const flows = status.flows || [];
  const most = Math.max(1, ...flows.map((f) => f.count));
  for (const f of flows) {
    const y2 = to.get(f.decode);
    if (y2 === undefined) continue;
    const stroke = { "stroke-width": 1.5 + 9 * Math.sqrt(f.count / most) };
    let path;
    if (f.prefill) {
      const y1 = from.get(f.prefill);
      if (y1 === undefined) continue;
      const mid = width / 2;
      path = shape("path", { class: "flow", d: `M${boxWidth} ${y1} C${mid} ${y1} ${mid} ${y2} ${right} ${y2}`, ...stroke });
    } else {
      path = shape("path", { class: "flow alone", d: `M${right - 70} ${y2 + 14} L${right} ${y2 + 8}`, ...stroke });
    }
    path.append(shape("title", {}, `${f.prefill || "alone"} → ${f.decode}: ${f.count}`));
    flowsAt.append(path);
  }
}

function numbers(status) {
  const flows = status.flows || [];
  const sum = (list) => list.reduce((n, f) => n + f.count, 0);
  const all = sum(flows), handed = sum(flows.filter((f) => f.prefill));
  const entries = [
    ["requests a minute", all],
    ["handed over", all ? Math.round((100 * handed) / all) + " %" : "–"],
    ["running", status.running], ["waiting", status.waiting],
    ["local below", status.local_below_bytes + " B"],
  ];
  $("numbers").replaceChildren(...entries.map(([k, v]) => {
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = k;
    dd.textContent = v;
    div.append(dt, dd);
    return div;
  }));
}

async function call(path, id) {
  const answer = await fetch(`instances/${path}?id=${encodeURIComponent(id)}`, { method: "POST" });
  if (!answer.ok) alert((await answer.json()).error.message);
  refresh();
}

function instances(status) {
  $("instances").tBodies[0].replaceChildren(...(status.instances || []).map((i) => {
    const tr = document.createElement("tr");
    tr.append(cell(i.id), cell(i.role + (i.model ? " · " + i.model : "")),
      cell(i.usable ? "usable" : i.reason, i.usable ? "ok" : "bad"),
      cell(i.breaker.replace("_", " "), i.breaker === "closed" ? "dim" : "bad"),
      cell(i.in_flight_prefills + i.in_flight_decodes, "n"),
      cell(i.reported_waiting === undefined ? "–" : i.reported_waiting, "n"));
    const kv = document.createElement("td");
    if (i.reported_kv_usage === undefined) kv.textContent = "–";
    else {
      const m = document.createElement("meter");
      Object.assign(m, { value: i.reported_kv_usage, high: 0.9, title: Math.round(100 * i.reported_kv_usage) + " %" });
      kv.append(m);
    }
    const act = document.createElement("td"), b = document.createElement("button");
    const drained = i.reason === "drained by an operator";
    b.textContent = drained ? "take back" : "drain";
    b.addEventListener("click", () => call(drained ? "undrain" : "drain", i.id));
    act.append(b);
    tr.append(kv, cell(i.share.toFixed(2), "n"), act);
    return tr;
  }));
}

function locals(status) {
  const list = status.locals || [];
  $("nolocals").hidden = list.length > 0;
  $("locals").tBodies[0].replaceChildren(...list.map((l) => {
    const tr = document.createElement("tr");
    tr.append(cell(new Date(l.at).toLocaleTimeString()), cell(l.reason.replaceAll("_", " ")), cell(l.decode), cell(l.request_id, "dim"));
    return tr;
  }));
}

async function refresh() {
  const message = $("message");
  try {
    const status = await (await fetch("status")).json();
    message.textContent = status.message;
    message.className = status.ready && status.disaggregated ? "ok" : "bad";
    $("source").hidden = !status.source_error;
    $("source").textContent = "The list of instances cannot be refreshed: " + (status.source_error || "");
    numbers(status);
    topology(status);
    instances(status);
    locals(status);
  } catch (e) {
    message.textContent = "the router does not answer: " + e.message;
    message.className = "bad";
  }
}

refresh();
setInterval(refresh, 1000);
