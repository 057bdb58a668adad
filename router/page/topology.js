"use strict";

function shape(name, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  return set(e, attributes, text);
}

// set changes only what differs, so that a tooltip or a selection survives.
function set(e, attributes, text) {
  for (const [k, v] of Object.entries(attributes)) if (e.getAttribute(k) !== String(v)) e.setAttribute(k, v);
  if (text !== undefined && e.textContent !== String(text)) e.textContent = text;
  return e;
}

// sync makes an element's children those of a list, in its order: what is
// there stays the same element, so a button under a finger is not replaced.
function sync(parent, list, key, create, update) {
  const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  list.forEach((item, n) => {
    const k = key(item);
    let e = old.get(k);
    old.delete(k);
    if (!e) {
      e = create(item);
      e.dataset.key = k;
    }
    if (parent.children[n] !== e) parent.insertBefore(e, parent.children[n] || null);
    update(e, item);
  });
  for (const e of old.values()) e.remove();
}

// shorten keeps both ends of a name: the node and the port's label.
function shorten(s, most) {
  if (s.length <= most) return s;
  const tail = Math.floor((most - 1) / 2);
  return s.slice(0, most - 1 - tail) + "…" + s.slice(s.length - tail);
}

const percent = (x) => Math.round(100 * x) + " %";
const byRole = (list, role) => list.filter((i) => i.role === role || i.role === "both");

// sizes of boxes by how many there are in a column.
function sizes(rows) {
  if (rows <= 8) return { height: 44, gap: 12, lines: 2 };
  if (rows <= 24) return { height: 24, gap: 6, lines: 1 };
  return { height: 18, gap: 3, lines: 1 };
}

function loadOf(i, prefill) {
  if (!i.usable) return i.reason;
  if (prefill) return i.in_flight_prefills + " in flight" + (i.prefill_bytes ? ", " + Math.ceil(i.prefill_bytes / 1024) + " KiB to compute" : "");
  return i.in_flight_decodes + " in flight" + (i.reported_kv_usage === undefined ? "" : ", KV " + percent(i.reported_kv_usage));
}

function drawBox(g, b) {
  const { i, x, y, width, prefill, size } = b;
  const [rect, name, load, title] = g.children;
  const middle = y + size.height / 2, small = size.height < 20 || width < 180;
  const chars = Math.floor((width - 24) / (small ? 6.3 : 7.3));
  set(g, { class: "box " + (!i.usable ? "out" : prefill ? "prefill" : "decode") + (small ? " small" : "") });
  set(rect, { x, y, width, height: size.height, rx: Math.min(8, size.height / 3) });
  set(title, {}, i.id + "\n" + loadOf(i, prefill));
  if (size.lines === 2) {
    set(name, { x: x + 12, y: middle - 4 }, shorten(i.id, chars));
    set(load, { x: x + 12, y: middle + 13, "text-anchor": "start" }, shorten(loadOf(i, prefill), Math.floor((width - 24) / (small ? 6 : 6.2))));
    return;
  }
  const count = i.usable ? (prefill ? i.in_flight_prefills : i.in_flight_decodes) : "out";
  set(name, { x: x + 10, y: middle + (small ? 4 : 4.5) }, shorten(i.id, chars - 5));
  set(load, { x: x + width - 10, y: middle + (small ? 4 : 4.5), "text-anchor": "end" }, count);
}

// column places a role's boxes, in the middle of the height.
function column(list, prefill, x, width, size, rows) {
  const top = 26 + ((rows - list.length) * (size.height + size.gap)) / 2;
  return list.map((i, n) => ({ i, prefill, x, width, size, y: top + n * (size.height + size.gap), used: 0 }));
}

// band takes the next part of a box's side for a flow of that thickness.
function band(b, thick, total) {
  const y = b.y + (b.size.height - total) / 2 + b.used + thick / 2;
  b.used += thick;
  return y;
}

function flowPaths(status, from, to, left, right) {
  const place = (list) => new Map(list.map((b) => [b.i.id, b]));
  const p = place(from), d = place(to);
  const flows = (status.flows || []).filter((f) => d.has(f.decode) && (!f.prefill || p.has(f.prefill)));
  const sum = (b, side) => flows.reduce((n, f) => n + (f[side] === b.i.id ? f.count : 0), 0);
  const totals = new Map([...from.map((b) => [b, sum(b, "prefill")]), ...to.map((b) => [b, sum(b, "decode")])]);
  const most = Math.max(1, ...totals.values());
  const thickness = (n, b) => (n / most) * (b.size.height - 6);
  const order = (f) => [d.get(f.decode).y, f.prefill ? p.get(f.prefill).y : 1e9];
  flows.sort((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
  return flows.map((f) => {
    const b = d.get(f.decode), thick = thickness(f.count, b);
    const y2 = band(b, thick, thickness(totals.get(b), b));
    const stroke = Math.max(1.2, thick).toFixed(1);
    if (!f.prefill) return { f, stroke, d: `M${right - 44} ${y2.toFixed(1)}H${right}`, alone: true };
    const a = p.get(f.prefill);
    const y1 = band(a, thick, thickness(totals.get(a), a)), mid = (left + right) / 2;
    return { f, stroke, d: `M${left} ${y1.toFixed(1)}C${mid} ${y1.toFixed(1)} ${mid} ${y2.toFixed(1)} ${right} ${y2.toFixed(1)}` };
  });
}

function topology(status) {
  const svg = document.getElementById("topology");
  const all = status.instances || [], prefills = byRole(all, "prefill"), decodes = byRole(all, "decode");
  const rows = Math.max(prefills.length, decodes.length, 1), size = sizes(rows);
  const card = svg.parentElement, width = Math.max(260, Math.floor(card.clientWidth - 2 * parseFloat(getComputedStyle(card).paddingLeft)));
  const height = 26 + rows * (size.height + size.gap);
  const boxWidth = Math.min(280, Math.max(112, width * 0.38)), left = boxWidth + 1, right = width - boxWidth - 1; // 1 for the outline
  set(svg, { viewBox: `0 0 ${width} ${height}`, width, height, "aria-label": `${prefills.length} prefill and ${decodes.length} decode instances` });
  set(document.getElementById("handoff"), { x1: left, x2: right });
  const heads = [{ x: 1, text: "prefill" }, { x: right, text: "decode" }];
  if (!(status.flows || []).length) heads.push({ x: (left + right) / 2, y: height / 2, anchor: "middle", text: width < 560 ? "idle" : "no request in the last minute" });
  sync(document.getElementById("heads"), heads, (h) => h.text, () => shape("text", {}),
    (e, h) => set(e, { x: h.x, y: h.y || 13, "text-anchor": h.anchor || "start" }, h.text));
  const from = column(prefills, true, 1, boxWidth, size, rows), to = column(decodes, false, right, boxWidth, size, rows);
  sync(document.getElementById("boxes"), [...from, ...to], (b) => (b.prefill ? "p " : "d ") + b.i.id, () => {
    const g = shape("g", {});
    g.append(shape("rect", {}), shape("text", { class: "name" }), shape("text", { class: "load" }), shape("title", {}));
    return g;
  }, drawBox);
  sync(document.getElementById("flows"), flowPaths(status, from, to, left, right), (x) => (x.f.prefill || "") + " → " + x.f.decode, () => {
    const e = shape("path", {});
    e.append(shape("title", {}));
    return e;
  }, (e, x) => {
    set(e, { class: x.alone ? "flow alone" : "flow", d: x.d, "stroke-width": x.stroke });
    set(e.firstChild, {}, `${x.f.prefill || "alone"} → ${x.f.decode}: ${x.f.count}`);
  });
}
