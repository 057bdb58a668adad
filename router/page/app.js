"use strict";

// Everything that comes from an instance is set as text, never as markup.

const $ = (id) => document.getElementById(id);

function element(name, cls, ...children) {
  const e = document.createElement(name);
  if (cls) e.className = cls;
  e.append(...children);
  return e;
}

function text(e, value, cls) {
  if (e.textContent !== String(value)) e.textContent = value;
  if (cls !== undefined && e.className !== cls) e.className = cls;
}

function cells(tr, n) {
  tr.append(...Array.from({ length: n }, () => element("td")));
  return tr;
}

function numbers(status) {
  const flows = status.flows || [];
  const sum = (list) => list.reduce((n, f) => n + f.count, 0);
  const all = sum(flows), handed = sum(flows.filter((f) => f.prefill));
  const age = status.snapshot_age_seconds;
  sync($("numbers"), [
    ["requests a minute", all], ["handed over", all ? percent(handed / all) : "–"],
    ["running", status.running], ["waiting", status.waiting],
    ["local below", status.local_below_bytes < 1024 ? status.local_below_bytes + " B" : (status.local_below_bytes / 1024).toFixed(1).replace(".0", "") + " KiB"],
    ["instances as of", age < 0 ? "no answer yet" : age === 0 ? "the settings" : Math.round(age) + " s ago"],
  ], (x) => x[0], (x) => element("div", "", element("dt", "", x[0]), element("dd")), (e, x) => text(e.lastChild, x[1]));
}

async function call(path, id) {
  const answer = await fetch(`instances/${path}?id=${encodeURIComponent(id)}`, { method: "POST" });
  if (!answer.ok) text($("problem"), (await answer.json()).error.message);
  $("problem").hidden = answer.ok;
  await refresh();
}

const drainedReason = "drained by an operator";

function stateOf(i) {
  if (!i.usable) return [i.reason, "bad"];
  if (i.breaker === "open") return ["kept away from: it failed again and again", "bad"];
  if (i.breaker === "half_open") return ["is tried again", "warn"];
  if (i.share < i.weight) return ["starting slowly", "warn"];
  return ["usable", "ok"];
}

function newRow() {
  const tr = cells(element("tr"), 8);
  const meter = element("meter"), button = element("button");
  meter.high = 0.9;
  tr.children[5].append(meter, element("span", "dim"));
  button.type = "button";
  button.addEventListener("click", () => {
    call(tr.dataset.drained ? "undrain" : "drain", tr.dataset.key).catch((e) => lost(e));
  });
  tr.children[7].append(button);
  return tr;
}

// servedBy is what an instance serves, in a word and whole.
function servedBy(i) {
  const names = i.serves || [], first = i.model || names[0] || "";
  return [first + (names.length > 1 ? " +" + (names.length - 1) : ""), names.slice(0, 20).join(", ") + (names.length > 20 ? ", …" : "")];
}

function updateRow(tr, i) {
  const [id, role, state, flight, waiting, kv, share, act] = tr.children;
  text(id, shorten(i.id, 46), "id");
  id.title = i.id + "\n" + i.url;
  const [served, names] = servedBy(i);
  role.title = names;
  text(role, i.role + (served ? " · " + served : "") + (i.compat ? " · " + i.compat : ""), "more");
  text(state, ...stateOf(i));
  text(flight, i.in_flight_prefills + i.in_flight_decodes, "n");
  text(waiting, i.reported_waiting === undefined ? "–" : i.reported_waiting, "n more");
  const [meter, number] = kv.children;
  kv.className = "kv more";
  meter.hidden = i.reported_kv_usage === undefined;
  if (!meter.hidden) meter.value = i.reported_kv_usage;
  text(number, meter.hidden ? "–" : percent(i.reported_kv_usage));
  text(share, i.usable ? i.share.toFixed(2) : "–", "n more");
  const drained = i.reason === drainedReason;
  tr.dataset.drained = drained ? "yes" : "";
  text(act.firstChild, drained ? "take back" : "drain");
}

function instances(status) {
  const rank = { prefill: 0, both: 1, decode: 2 };
  const list = [...(status.instances || [])].sort((a, b) => rank[a.role] - rank[b.role]);
  $("noinstances").hidden = list.length > 0;
  sync($("instances").tBodies[0], list, (i) => i.id, newRow, updateRow);
}

function locals(status) {
  const list = (status.locals || []).slice(0, 10);
  $("nolocals").hidden = list.length > 0;
  $("locals").hidden = list.length === 0;
  sync($("locals").tBodies[0], list, (l) => l.request_id + " " + l.at, () => cells(element("tr"), 4), (tr, l) => {
    [new Date(l.at).toLocaleTimeString(), l.reason.replaceAll("_", " "), shorten(l.decode, 46), l.request_id].forEach((x, n) => text(tr.children[n], x, ["dim", "", "id", "id dim more"][n]));
  });
}

let last; // status

function show(status) {
  last = status;
  document.body.classList.remove("lost");
  text($("message"), status.message, !status.ready ? "bad" : status.disaggregated ? "ok" : "warn");
  $("source").hidden = !status.source_error;
  text($("source"), "The list of instances cannot be refreshed: " + (status.source_error || ""));
  numbers(status);
  topology(status);
  instances(status);
  locals(status);
}

function lost(e) {
  document.body.classList.add("lost");
  text($("message"), "the router does not answer: " + e.message, "bad");
}

async function refresh() {
  try {
    show(await (await fetch("status")).json());
  } catch (e) {
    lost(e);
  }
}

async function watch() {
  if (!document.hidden) await refresh();
  setTimeout(watch, 1000);
}

addEventListener("resize", () => last && topology(last));
watch();
