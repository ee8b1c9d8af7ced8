// Shared by all parts of the page: the data, the state, and how elements are made. Text is only ever
// set as text.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const lazily = (make) => {
  const known = new Map();
  return (key) => known.get(key) ?? known.set(key, make(key)).get(key);
};

const ledger = read("ledger");
const rows = ledger.rows;
const rowCount = rows.setting.length;
const curvesOf = lazily((setting) => read(`curves-${setting}`));
const part = lazily(read);
const ofSetting = (row, key) => ledger.settings[key][rows.setting[row]];

const state = {
  filters: { dataset: "", model: "", protocol: "", selection: "" },
  text: "",
  sort: { column: ledger.metrics[0], down: true },
  chosen: null, // rows chosen by hand; null: the best of each sampler in view
  open: new Set(), // settings whose runs are shown
  whole: false, // whether rows beyond the first LIMIT are shown
  metric: ledger.metrics[0],
  hardness: "percentile", // of the four the one without a scale
  group: 0,
};

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const fill = (id, ...children) => document.getElementById(id).replaceChildren(...children);

function swatch(sampler) {
  const [colour, dash] = ledger.strokes[sampler];
  const line = svg("line", { x1: 0, x2: 30, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash });
  return svg("svg", { width: 30, height: 10, "aria-hidden": "true" }, line);
}

function picker(label, values, present, choose) {
  const select = el("select", { "aria-label": label, "data-key": label, onchange: () => choose(select.value) });
  for (const [value, text] of values) select.append(el("option", { value }, text));
  select.value = present;
  return select;
}

const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const unique = (values) => [...new Set(values)];
