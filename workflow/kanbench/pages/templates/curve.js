"use strict";
// A logarithmic learning curve where all values allow it: training loss and the validation metric.
function curve(record) {
  const [width, height, left, right, top, bottom] = [640, 230, 62, 12, 24, 34];
  const made = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Learning curve: training loss and validation metric by step" });
  const { metric = "metric", goal } = record.selection || {};
  const points = (key, turn) => record.curve.filter((p) => Number.isFinite(p[key])).map((p) => [p.step, turn(p[key])]);
  const asError = goal === "max" ? (value) => 1 - value : (value) => value;
  const series = [
    ["training loss", "#D55E00", points("train_loss", (value) => value)],
    [`${goal === "max" ? "1 - " : ""}validation ${metric}`, "#0072B2", points("validation", asError)],
  ].filter(([, , drawn]) => drawn.length);
  const values = series.flatMap(([, , drawn]) => drawn.map(([, y]) => y));
  if (!values.length) return Object.assign(document.createElement("p"), { textContent: "no finite values" });
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
