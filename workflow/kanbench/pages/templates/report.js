"use strict";
const records = JSON.parse(document.getElementById("records").textContent);
const dialog = document.getElementById("record");
const heading = document.getElementById("record-title");
const body = document.getElementById("record-body");

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function shown(value) {
  if (value === null || value === undefined) return "not measured";
  if (typeof value === "number" && !Number.isInteger(value)) return Number(value.toPrecision(5)).toString();
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// Tables of numbers are kept packed: a link unpacks its own when it is first followed.
for (const link of document.querySelectorAll("a[data-gzip]")) {
  link.addEventListener("click", async (event) => {
    if (!link.dataset.gzip) return;
    event.preventDefault();
    const bytes = Uint8Array.from(atob(link.dataset.gzip), (character) => character.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    link.href = URL.createObjectURL(new Blob([await new Response(unpacked).arrayBuffer()], { type: "text/csv" }));
    link.dataset.gzip = "";
    link.click();
  });
}

// A figure stands in the page once: its link takes the image when it is first followed.
for (const link of document.querySelectorAll('figure a[download$=".png"]')) {
  link.addEventListener("click", () => { link.href = link.closest("figure").querySelector("img").src; });
}

// Sorting and filtering.
for (const table of document.querySelectorAll("main table")) {
  const rows = [...table.tBodies[0].rows];
  table.querySelectorAll("button.sort").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of table.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      rows.sort((left, right) => sign * compare(left.cells[column], right.cells[column]));
      table.tBodies[0].append(...rows);
    });
  });
}

// Numbers before words, so that cells that hold a status instead of a number stay together.
function compare(left, right) {
  const numbers = [left, right].map((cell) => cell.dataset.sort === undefined ? NaN : Number(cell.dataset.sort));
  const missing = numbers.map(Number.isNaN);
  if (!missing[0] && !missing[1]) return numbers[0] - numbers[1];
  if (missing[0] !== missing[1]) return missing[0] ? 1 : -1;
  return left.textContent.localeCompare(right.textContent, "en", { numeric: true });
}

for (const filter of document.querySelectorAll("input.filter")) {
  const table = document.getElementById(`table-${filter.dataset.table}`);
  const count = document.querySelector(`.shown[data-table="${filter.dataset.table}"]`);
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let visible = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) visible += 1;
    }
    count.textContent = visible === rows.length ? `${visible} rows` : `${visible} of ${rows.length} rows`;
  });
}

// Runs behind a cell.
document.addEventListener("click", (event) => {
  const cell = event.target.closest("[data-runs]");
  if (cell) open(cell.dataset.runs.split(" ").map(Number), cell.textContent);
  const copied = event.target.closest("[data-copy]");
  if (copied) copy(document.getElementById(copied.dataset.copy).value, copied);
});
document.getElementById("record-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function copy(text, button) {
  const label = button.textContent;
  const done = (word) => { button.textContent = word; setTimeout(() => { button.textContent = label; }, 1500); };
  const area = element("textarea", null, { style: "position:fixed;opacity:0" });
  area.value = text;
  (dialog.open ? dialog : document.body).append(area);
  area.select();
  done(document.execCommand("copy") ? "Copied" : "Select and copy by hand");
  area.remove();
}

function open(runs, text) {
  if (runs.length === 1) show(runs[0]);
  else list(runs, text);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function list(runs, text) {
  heading.textContent = `${runs.length} runs behind “${text.trim()}”`;
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const name of ["run", "status", "metric", "test value", "parameters", "simulated peak (bytes)"]) head.append(element("th", name));
  const rows = table.createTBody();
  for (const id of runs) {
    const record = records[id];
    const row = rows.insertRow();
    const button = element("button", record.run, { type: "button", class: "cell" });
    button.addEventListener("click", () => { show(id, () => list(runs, text)); dialog.scrollTop = 0; });
    row.insertCell().append(button);
    const test = ((record.metrics || {}).selected || {}).test || {};
    const values = [record.status, record.metric || "not known", test[record.metric], (record.parameters || {}).trainable,
      (record.memory || {}).simulated_peak_bytes];
    for (const value of values) row.insertCell().textContent = shown(value);
  }
  body.replaceChildren(table);
}

function show(id, back) {
  const record = records[id];
  heading.textContent = record.run;
  const parts = [];
  if (back) {
    const button = element("button", "← back to the list", { type: "button", class: "cell" });
    button.addEventListener("click", back);
    parts.push(button);
  }
  const outcome = element("p");
  outcome.append(element("span", record.status.replaceAll("_", " "), { class: `badge ${record.status}` }));
  if (record.reason) outcome.append(` ${record.reason}`);
  parts.push(outcome);
  if ((record.curve || []).length > 1) parts.push(element("h3", "Learning curve"), curve(record));
  parts.push(element("h3", "Command that repeats this run"), commandOf(record));
  for (const [title, value] of [["Metrics", record.metrics], ["Parameters", record.parameters], ["Memory (bytes)", record.memory],
    ["Time (seconds)", record.time], ["Specification", record.spec], ["Floors of the task", record.floors],
    ["Data", record.data], ["Method", record.method_info], ["Code", record.code], ["Machine", record.environment]]) {
    if (value && Object.keys(value).length) parts.push(element("h3", title), pairs(value));
  }
  parts.push(element("p", `Experiments: ${(record.experiments || []).join(", ") || "none"}`, { class: "caption" }));
  body.replaceChildren(...parts);
}

function commandOf(record) {
  const box = element("div");
  const button = element("button", "Copy", { type: "button", class: "copy" });
  button.addEventListener("click", () => copy(record.command, button));
  box.append(element("pre", record.command), button);
  return box;
}

function flat(value, prefix = "") {
  return Object.entries(value).flatMap(([key, entry]) =>
    entry && typeof entry === "object" && !Array.isArray(entry) ? flat(entry, `${prefix}${key}.`) : [[prefix + key, entry]]);
}

function pairs(value) {
  const made = element("dl");
  for (const [key, entry] of flat(value)) made.append(element("dt", key), element("dd", shown(entry)));
  return made;
}

// A logarithmic learning curve where all values allow it: training loss and the validation metric.
function curve(record) {
  const [width, height, left, right, top, bottom] = [640, 230, 62, 12, 24, 34];
  const made = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Learning curve" });
  const { metric = "metric", goal } = record.selection || {};
  const points = (key, turn) => record.curve.filter((p) => Number.isFinite(p[key])).map((p) => [p.step, turn(p[key])]);
  const asError = goal === "max" ? (value) => 1 - value : (value) => value;
  const series = [
    ["training loss", "#D55E00", points("train_loss", (value) => value)],
    [`${goal === "max" ? "1 - " : ""}validation ${metric}`, "#0072B2", points("validation", asError)],
  ].filter(([, , drawn]) => drawn.length);
  const values = series.flatMap(([, , drawn]) => drawn.map(([, y]) => y));
  if (!values.length) return element("p", "no finite values");
  const log = values.every((y) => y > 0);
  const scaled = (y) => (log ? Math.log10(y) : y);
  const steps = series.flatMap(([, , drawn]) => drawn.map(([x]) => x));
  const [firstStep, lastStep] = [Math.min(...steps), Math.max(...steps)];
  let [low, high] = [Math.min(...values.map(scaled)), Math.max(...values.map(scaled))];
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  const across = (x) => left + ((x - firstStep) / (lastStep - firstStep || 1)) * (width - left - right);
  const up = (y) => height - bottom - ((scaled(y) - low) / (high - low)) * (height - top - bottom);
  for (let i = 0; i <= 4; i += 1) {
    const level = low + ((high - low) * i) / 4;
    const y = height - bottom - ((height - top - bottom) * i) / 4;
    made.append(draw("line", { x1: left, x2: width - right, y1: y, y2: y, stroke: "currentColor", "stroke-opacity": 0.15 }));
    made.append(label(left - 6, y + 4, Number((log ? 10 ** level : level).toPrecision(2)).toString(), "end"));
  }
  for (let i = 0; i <= 4; i += 1) {
    const step = firstStep + ((lastStep - firstStep) * i) / 4;
    made.append(label(across(step), height - bottom + 15, String(Math.round(step)), "middle"));
  }
  made.append(label((left + width - right) / 2, height - 4, "step", "middle"));
  series.forEach(([name, colour, drawn], position) => {
    const path = drawn.map(([x, y]) => `${across(x)},${up(y)}`).join(" ");
    made.append(draw("polyline", { points: path, fill: "none", stroke: colour, "stroke-width": 2 }));
    for (const [x, y] of drawn) made.append(draw("circle", { cx: across(x), cy: up(y), r: 2.5, fill: colour }));
    made.append(draw("rect", { x: left + 190 * position, y: 6, width: 14, height: 3, fill: colour }));
    made.append(label(left + 20 + 190 * position, 12, name, "start"));
  });
  return made;
}

function draw(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function label(x, y, text, anchor) {
  const made = draw("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}
