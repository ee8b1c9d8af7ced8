// A line chart over epochs: series of { sampler, label, digit, epoch, curves }, where curves is [mean]
// or [mean, low, high].
const PLOT = { width: 640, height: 300, left: 52, right: 18, top: 10, bottom: 38 };

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found.map((value) => [value, value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1")]);
}

// The range to draw: everything or, with outliers (a ratio of two scores near zero), the middle 94%.
function span(series, outliers) {
  const all = series.flatMap((one) => one.curves[0]).filter((value) => value !== null).sort((a, b) => a - b);
  const cut = outliers ? Math.floor(all.length * 0.03) : 0;
  const [low, high] = [all[cut], all[all.length - 1 - cut]];
  const margin = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - margin, high + margin];
}

function drawChart(box, series, outliers, digits) {
  const drawn = series.filter((one) => one.curves[0].some((value) => value !== null));
  if (!drawn.length) {
    box.replaceChildren(el("p", { class: "empty" }, series.length ? "The chosen rows have no such curve." : "No row is chosen."));
    return;
  }
  const { width, height, left, right, top, bottom } = PLOT;
  const lastEpoch = Math.max(1, ...drawn.map((one) => one.epoch.at(-1)));
  const [low, high] = span(drawn, outliers);
  const x = (epoch) => left + (epoch / lastEpoch) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const clip = `${box.id}-clip`;
  const frame = { x: left, y: top, width: width - left - right, height: height - top - bottom };
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "curves over epochs" });
  picture.append(svg("clipPath", { id: clip }, svg("rect", frame)));
  for (const [value, text] of ticks(low, high, 7)) {
    picture.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    picture.append(svg("text", { x: left - 7, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of ticks(0, lastEpoch, 6)) picture.append(svg("text", { x: x(value), y: height - 20, "text-anchor": "middle" }, text));
  picture.append(svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "epoch"));
  const lines = svg("g", { "clip-path": `url(#${clip})` });
  for (const one of drawn) lines.append(...strokes(one, x, y));
  picture.append(lines);
  const cursor = svg("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  const readout = el("div", { class: "readout", hidden: "" });
  picture.append(cursor);
  picture.addEventListener("pointermove", (event) => {
    const place = (event.offsetX / picture.clientWidth) * width;
    const epoch = nearest(drawn, ((place - left) / (width - left - right)) * lastEpoch);
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(epoch));
    cursor.setAttribute("visibility", "visible");
    readout.replaceChildren(...atEpoch(drawn, epoch, digits));
    readout.hidden = false;
    readout.style.left = x(epoch) > width / 2 ? `${((left + 8) / width) * 100}%` : "";
    readout.style.right = x(epoch) > width / 2 ? "" : `${((right + 8) / width) * 100}%`;
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.hidden = true;
  });
  box.replaceChildren(picture, readout);
}

function strokes(one, x, y) {
  const [mean, low, high] = one.curves;
  const [colour, dash] = ledger.strokes[one.sampler];
  const known = one.epoch.map((_, k) => k).filter((k) => mean[k] !== null);
  const points = (values, order) => order.map((k) => `${x(one.epoch[k]).toFixed(1)},${y(values[k]).toFixed(1)}`).join(" ");
  const found = [];
  if (low) found.push(svg("polygon", { points: `${points(high, known)} ${points(low, [...known].reverse())}`, fill: colour, opacity: 0.14 }));
  found.push(svg("polyline", { class: "line", points: points(mean, known), stroke: colour, "stroke-dasharray": dash, "data-row": one.row }));
  if (one.digit) {
    const last = known.at(-1);
    found.push(svg("text", { class: "digit", x: x(one.epoch[last]) - 4, y: y(mean[last]) - 5, "text-anchor": "end" }, one.digit));
  }
  return found;
}

function nearest(series, wanted) {
  const epochs = series.flatMap((one) => one.epoch);
  return epochs.reduce((best, epoch) => (Math.abs(epoch - wanted) < Math.abs(best - wanted) ? epoch : best));
}

function atEpoch(series, epoch, digits) {
  const found = series.map((one) => [one, one.curves[0][one.epoch.indexOf(epoch)] ?? null]).filter(([, value]) => value !== null);
  found.sort((a, b) => b[1] - a[1]);
  const line = ([one, value]) => el("tr", {}, el("td", {}, swatch(one.sampler), one.label), el("td", { class: "number" }, fixed(value, digits)));
  return [el("b", {}, `epoch ${epoch}`), el("table", {}, ...found.map(line))];
}
