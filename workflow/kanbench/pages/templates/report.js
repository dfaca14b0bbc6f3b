const BLOCK = Number(document.documentElement.dataset.block);
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

// What is kept packed is unpacked when it is first asked for.
function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const kept = new Map();
function once(key, make) {
  if (!kept.has(key)) kept.set(key, make());
  return kept.get(key);
}

function packed(id) {
  return once(id, async () => JSON.parse(await unpack(document.getElementById(id).textContent)));
}

async function recordOf(id) {
  return (await packed(`records-${Math.floor(id / BLOCK)}`))[id % BLOCK];
}

// Downloads and copies.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.download, a.picture");
  if (link && !link.href.startsWith("blob:")) {
    event.preventDefault();
    (link.dataset.gzip ? csvOf(link) : pictureOf(link)).then((blob) => { link.href = URL.createObjectURL(blob); link.click(); });
  }
  const copied = event.target.closest("button.copy[data-gzip]");
  if (copied) unpack(copied.dataset.gzip).then((text) => copy(text, copied));
});

async function csvOf(link) {
  return new Blob([await unpack(link.dataset.gzip)], { type: "text/csv" });
}

// A figure stands in the page once, in the smallest format.
async function pictureOf(link) {
  const image = link.closest("figure").querySelector("img");
  await image.decode();
  const canvas = element("canvas", null, { width: image.naturalWidth, height: image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

function copy(text, button) {
  const label = [...button.childNodes];
  const done = (word) => { button.textContent = word; setTimeout(() => button.replaceChildren(...label), 1500); };
  const area = element("textarea", null, { style: "position:fixed;opacity:0", "aria-hidden": "true" });
  area.value = text;
  (dialog.open ? dialog : document.body).append(area);
  area.select();
  done(document.execCommand("copy") ? "Copied" : "Select and copy by hand");
  area.remove();
  button.focus();
}

// Sorting, filtering and paging are the library's. A table is handed to it when it comes near the window.
function library() {
  return once("library", async () => {
    const source = new Blob([await unpack(document.getElementById("library").textContent)], { type: "text/javascript" });
    const address = URL.createObjectURL(source);
    const DataTable = (await import(address)).default;
    URL.revokeObjectURL(address);
    // Numbers before words, in either direction, so that cells that hold a status instead of a number stay together.
    const ordered = (sign) => (left, right) => {
      const words = [left, right].map((value) => typeof value !== "number");
      if (words[0] !== words[1]) return words[0] ? 1 : -1;
      return sign * (words[0] ? left.localeCompare(right, "en", { numeric: true }) : left - right);
    };
    const plain = DataTable.util.stripHtml;
    DataTable.type("mixed", {
      order: { pre: (value) => sortKey(value, plain), asc: ordered(1), desc: ordered(-1) },
      search: (value) => plain(String(value ?? "")).trim(),
    });
    return DataTable;
  });
}

function sortKey(value, plain) {
  if (typeof value === "number") return value;
  const text = plain(String(value ?? "")).trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text.toLowerCase();
}

const WORDS = {
  search: "Filter ", searchPlaceholder: "every word must occur", lengthMenu: "_MENU_ rows a page",
  info: "Rows _START_ to _END_ of _TOTAL_", infoEmpty: "No rows", infoFiltered: "(of _MAX_ in all)", zeroRecords: "No row has all these words",
  columnControl: { dropdown: "Choose values" },
};
const FEW = 60;

// Columns of few words, whose values can be chosen from a list.
function columnsOfFew(rows) {
  const words = (column) => new Set(rows.map((row) => (Array.isArray(row[column]) ? Symbol("number") : row[column]))).size;
  return Object.keys(rows[0]).map(Number).filter((column) => words(column) > 1 && words(column) <= FEW);
}

function columnsOf(table) {
  return [...table.tHead.rows[0].cells].map((head, place) => ({
    className: head.className,
    title: head.textContent,
    data: place,
    render: (cell, kind) => (Array.isArray(cell) ? cell[kind === "sort" ? 1 : 0] : cell),
  }));
}

function optionsFor(count, tools) {
  return {
    autoWidth: false, order: [], paging: count > 100, pageLength: 25, lengthMenu: [25, 100, 500, { label: "all", value: -1 }],
    language: WORDS, columnDefs: [{ targets: "_all", type: "mixed" }],
    layout: {
      topStart: count > 5 ? "search" : null, topEnd: tools,
      bottomStart: count > 5 ? (count > 100 ? ["info", "pageLength"] : "info") : null, bottomEnd: count > 100 ? "paging" : null,
    },
  };
}

async function upgrade(table) {
  const name = table.id.replace(/^table-/, "");
  const DataTable = await library();
  const rows = document.getElementById(`rows-${name}`) ? await packed(`rows-${name}`) : null;
  const options = optionsFor(rows ? rows.length : table.tBodies[0].rows.length, document.getElementById(`tools-${name}`));
  if (rows) {
    Object.assign(options, { data: rows, columns: columnsOf(table) });
    options.columnDefs.push({ targets: columnsOfFew(rows), columnControl: [["searchList"]] });
    table.tBodies[0].replaceChildren();
  }
  const region = table.closest(".scroll");
  region.parentElement.querySelectorAll(`#rows-${name}`).forEach((script) => script.previousElementSibling.remove());
  region.replaceWith(table);
  place(new DataTable(table, options), region.getAttribute("aria-label"));
}

// What scrolls is a region that the keyboard reaches; what belongs to a table names it.
function place(made, label) {
  for (const part of made.table().container().querySelectorAll("nav, input[type=search], select")) {
    part.setAttribute("aria-label", `${{ NAV: "Pages", INPUT: "Filter", SELECT: "Rows a page" }[part.tagName]}: ${label}`);
  }
  for (const button of made.table().container().querySelectorAll(".dtcc-button_dropdown")) {
    button.setAttribute("aria-label", `${button.textContent.trim()}: ${button.closest("th").querySelector(".dt-column-title").textContent}`);
  }
  const region = made.table().node().parentElement;
  region.classList.add("scroll");
  for (const [name, value] of Object.entries({ tabindex: "0", role: "region", "aria-label": label })) region.setAttribute(name, value);
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    watcher.unobserve(entry.target);
    upgrade(entry.target);
  }
}, { rootMargin: "800px" });
for (const table of document.querySelectorAll("table.sortable")) watcher.observe(table);
library().then((DataTable) => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", follow);
  follow();
  globalThis.DataTable = DataTable;
  document.documentElement.dataset.ready = "yes";
});

// A link to a claim opens the question that it stands under; on paper all are open.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const question = target?.closest("details");
  if (!question) return;
  question.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
addEventListener("beforeprint", () => {
  for (const closed of document.querySelectorAll("details.question:not([open])")) { closed.open = true; closed.dataset.closed = ""; }
});
addEventListener("afterprint", () => {
  for (const opened of document.querySelectorAll("details[data-closed]")) { opened.open = false; delete opened.dataset.closed; }
});

// Runs behind a cell.
document.addEventListener("click", (event) => {
  const cell = event.target.closest("[data-runs]");
  if (cell) open(cell.dataset.runs.split(" ").flatMap(spelt), cell.textContent, dialog.contains(cell));
});
document.getElementById("record-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function spelt(range) {
  const [first, last = first] = range.split("-").map(Number);
  return Array.from({ length: last - first + 1 }, (_, step) => first + step);
}

let behind = null;
async function open(runs, text, inside) {
  if (!inside) behind = runs.length > 1 ? () => list(runs, text) : null;
  if (runs.length === 1) await show(runs[0], behind);
  else await list(runs, text);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

async function list(runs, text) {
  heading.textContent = `${runs.length} runs behind “${text.trim()}”`;
  const [DataTable, every] = [await library(), await allRuns()];
  const table = element("table", null, { class: "sortable" });
  const columns = columnsOf(document.getElementById("table-runs"));
  body.replaceChildren(table);
  place(new DataTable(table, { ...optionsFor(runs.length, null), columns, data: runs.map((id) => every[id]) }), "Runs");
}

// Every run as a row: packed where there are many, else as they stand in the page.
function allRuns() {
  if (document.getElementById("rows-runs")) return packed("rows-runs");
  return once("runs", async () => {
    const rows = new Map();
    for (const row of document.getElementById("table-runs").tBodies[0].rows) {
      const cells = [...row.cells].map((cell) => (cell.dataset.sort ? [cell.innerHTML, Number(cell.dataset.sort)] : cell.innerHTML));
      rows.set(Number(row.querySelector("[data-runs]").dataset.runs), cells);
    }
    return rows.size ? Array.from({ length: Math.max(...rows.keys()) + 1 }, (_, id) => rows.get(id)) : [];
  });
}

async function show(id, back) {
  const record = await recordOf(id);
  heading.textContent = record.run;
  const parts = [];
  if (back) {
    const button = element("button", "← back to the list", { type: "button", class: "cell" });
    button.addEventListener("click", () => { back(); dialog.scrollTop = 0; });
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
  const button = element("button", "Copy", { type: "button", class: "copy", "aria-label": "Copy the command" });
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
