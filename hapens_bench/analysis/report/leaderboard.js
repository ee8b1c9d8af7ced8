// The filters, and the table of settings that they leave.
const LIMIT = 200; // rows that are drawn before more are asked for
const FILTERED = ["dataset", "model", "protocol", "selection"];
const valueOf = (row, name) => (name === "selection" ? rows.selection[row] : ofSetting(row, name));
const values = lazily((name) => unique(Array.from({ length: rowCount }, (_, row) => valueOf(row, name))).sort());

const column = (name, text, value, cell, extra = {}) => ({ name, text, value, cell, number: false, ...extra });
const named = (name) => column(name, name, (row) => valueOf(row, name), (row) => valueOf(row, name));
const scored = (metric) =>
  column(metric, metric, (row) => rows.mean[metric][row], (row) => score(row, metric), { number: true, metric });
const columns = [
  named("dataset"),
  ...["protocol", "model"].filter((name) => values(name).length > 1).map(named),
  column("sampler", "sampler", (row) => ofSetting(row, "sampler"), (row) => samplerCell(row)),
  column("keys", "setting", (row) => ofSetting(row, "keys"), (row) => ofSetting(row, "keys")),
  named("selection"),
  column("n", "n", (row) => rows.n[row], (row) => opener(row), { number: true }),
  ...ledger.metrics.map(scored),
  column("validation", "validation", (row) => ledger.validation[rows.setting[row]], (row) => fixed(ledger.validation[rows.setting[row]]), {
    number: true,
    title: "the best value of the monitored metric on the validation part, percent, mean over seeds",
  }),
  column("epoch", "epoch", (row) => rows.last[row], (row) => epochCell(row), { number: true, title: "the reported epochs of its runs" }),
];

function inView() {
  const wanted = state.text.trim().toLowerCase();
  const kept = [];
  for (let row = 0; row < rowCount; row++) {
    const fits = FILTERED.every((name) => !state.filters[name] || valueOf(row, name) === state.filters[name]);
    if (fits && `${ofSetting(row, "sampler")} ${ofSetting(row, "keys")}`.toLowerCase().includes(wanted)) kept.push(row);
  }
  const by = columns.find((one) => one.name === state.sort.column) ?? columns[0];
  const direction = state.sort.down ? -1 : 1;
  const known = (value) => value !== null && value !== undefined; // what is missing comes last either way
  return kept.sort((a, b) => {
    const [x, y] = [by.value(a), by.value(b)];
    if (!known(x) || !known(y)) return known(y) - known(x);
    return direction * (by.number ? x - y : x < y ? -1 : x > y ? 1 : 0);
  });
}

const groupOf = (row) => JSON.stringify([...["dataset", "split_id", "data_hash"].map((key) => ofSetting(row, key)), rows.selection[row]]);

function chosenRows(view) {
  if (state.chosen) return [...state.chosen].sort((a, b) => a - b);
  const best = view.filter((row) => rows.best[row]);
  return best.filter((row) => groupOf(row) === groupOf(best[0]));
}

// The best and second row of each data set, split and selection in view: metric -> row -> 1 or 2.
function places(view) {
  const groups = new Map();
  for (const row of view) {
    const key = groupOf(row);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  const found = {};
  for (const metric of ledger.metrics) {
    const mean = rows.mean[metric];
    found[metric] = new Map();
    for (const members of groups.values()) {
      if (members.length < 2) continue;
      const scores = unique(members.map((row) => mean[row]).filter((value) => value !== null)).sort((a, b) => ledger.less.includes(metric) ? a - b : b - a);
      for (const place of [0, 1]) {
        for (const row of members) if (mean[row] !== null && mean[row] === scores[place]) found[metric].set(row, place + 1);
      }
    }
  }
  return found;
}

function score(row, metric) {
  const [mean, std] = [rows.mean[metric][row], rows.std[metric][row]];
  return [el("span", { class: "value" }, fixed(mean)), " ", el("span", { class: "std" }, std === null ? "" : `± ${fixed(std)}`)];
}

function samplerCell(row) {
  const sampler = ofSetting(row, "sampler");
  return [swatch(sampler), sampler];
}

function epochCell(row) {
  const [first, last] = [rows.first[row], rows.last[row]];
  return [first === last ? `${last}` : `${first}–${last}`, el("span", { class: "bad flag" }, rows.converged[row] ? "" : "!")];
}

function opener(row) {
  const setting = rows.setting[row];
  const toggle = () => {
    if (!state.open.delete(setting)) state.open.add(setting);
    draw();
  };
  const open = state.open.has(setting);
  return el("button", { onclick: toggle, "data-key": `open ${row}`, "aria-expanded": open, title: "its runs, configs and commands" }, `${rows.n[row]} ${open ? "▾" : "▸"}`);
}

function drawHead() {
  const heads = columns.map((one) => {
    const sorted = state.sort.column === one.name;
    const sort = () => {
      state.sort = { column: one.name, down: sorted ? !state.sort.down : one.number };
      draw();
    };
    const arrow = sorted ? (state.sort.down ? " ▾" : " ▴") : "";
    const order = sorted ? (state.sort.down ? "descending" : "ascending") : null;
    const button = el("button", { onclick: sort, "data-key": `sort ${one.name}`, title: one.title ?? null }, one.text + arrow);
    return el("th", { class: `${one.number ? "number" : ""} of-${one.metric ? "metric" : one.name}`, scope: "col", "aria-sort": order }, button);
  });
  document.querySelector("#leaderboard thead").replaceChildren(el("tr", {}, el("th"), ...heads));
}

function drawBody(view, chosen) {
  const marks = places(view);
  const picked = new Set(chosen);
  const opened = new Set();
  const body = [];
  for (const row of state.whole ? view : view.slice(0, LIMIT)) {
    const choose = () => {
      state.chosen = new Set(chosen);
      if (!state.chosen.delete(row)) state.chosen.add(row);
      draw();
    };
    const box = el("input", { type: "checkbox", onchange: choose, "data-key": `choose ${row}`, "aria-label": "choose this row" });
    box.checked = picked.has(row);
    const cells = columns.map((one) => {
      const place = one.metric ? ["", "first", "second"][marks[one.metric].get(row) ?? 0] : "";
      return el("td", { class: `${one.number ? "number" : ""} ${one.name === "keys" ? "keys" : ""} of-${one.metric ? "metric" : one.name} ${place}` }, ...[one.cell(row)].flat());
    });
    body.push(el("tr", { class: picked.has(row) ? "chosen" : "", "data-row": row }, el("td", {}, box), ...cells));
    const setting = rows.setting[row];
    if (state.open.has(setting) && !opened.has(setting)) {
      opened.add(setting); // once, below the first of its rows
      body.push(el("tr", { class: "details" }, el("td", { colspan: columns.length + 1, class: "runs" }, ...runsOf(setting))));
    }
  }
  const nothing = el("tr", {}, el("td", { colspan: columns.length + 1, class: "empty" }, rowCount ? "No row fits these filters." : "There is no finished run."));
  const single = view.every((row) => rows.n[row] < 2); // nothing has a deviation: no room is kept for it
  const alike = FILTERED.filter((name) => state.filters[name]).map((name) => `one-${name}`); // on a phone their columns say nothing
  if (view.every((row) => !ofSetting(row, "keys"))) alike.push("one-keys");
  document.getElementById("leaderboard").className = [...alike, single ? "single" : ""].join(" ");
  document.querySelector("#leaderboard tbody").replaceChildren(...(body.length ? body : [nothing]));
  const showAll = el("button", { onclick: () => { state.whole = true; draw(); } }, `show the other ${view.length - LIMIT} rows`);
  fill("more", ...(view.length > LIMIT && !state.whole ? [showAll] : []));
}

function drawFilters() {
  const chips = FILTERED.map((name) => {
    const chip = (value) => {
      const press = () => {
        state.filters[name] = value;
        draw();
      };
      return el("button", { onclick: press, "data-key": `${name} ${value}`, "aria-pressed": state.filters[name] === value }, value || "all");
    };
    return el("div", {}, el("span", { class: "label" }, name), ...["", ...values(name)].map(chip));
  });
  const text = el("input", { type: "search", placeholder: "sampler or setting", "aria-label": "sampler or setting" });
  text.addEventListener("input", () => {
    state.text = text.value;
    drawAllButFilters();
  });
  text.value = state.text;
  fill("filters", ...chips, el("div", {}, text));
}

function drawChoice(view, chosen) {
  const reset = el("button", { onclick: () => { state.chosen = null; draw(); }, "data-key": "best", "aria-pressed": state.chosen === null }, "best setting of each sampler");
  const none = el("button", { onclick: () => { state.chosen = new Set(); draw(); }, "data-key": "none" }, "none");
  fill("choice", `${view.length} of ${rowCount} rows in view, ${chosen.length} chosen:`, reset, none);
}
