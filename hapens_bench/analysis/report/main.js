// The page as a whole: its head, its first view, and redrawing after any change.
function drawHeader() {
  const datasets = values("dataset").length;
  const counted = (n, one, many) => `${n} ${n === 1 ? one : many}`;
  fill(
    "origin",
    `${counted(ledger.runs, "run", "runs")} of ${counted(ledger.settings.config_id.length, "setting", "settings")} on ${counted(datasets, "data set", "data sets")} below ${ledger.root}; `,
    `made ${ledger.date} by hapens_bench ${ledger.version}, commit ${ledger.commit}`,
  );
  const unfinished = ledger.unfinished.map((one) => `${one.folder}: ${one.state} ${one.reason ?? ""} (${one.time ?? "no time"})`);
  const list = (title, items) => el("details", {}, el("summary", { class: "bad" }, title), el("ul", {}, ...items.map((item) => el("li", {}, item))));
  fill(
    "incidents",
    ...(ledger.skipped.length ? [list(`${counted(ledger.skipped.length, "thing", "things")} skipped`, ledger.skipped)] : []),
    ...(unfinished.length ? [list(`${counted(unfinished.length, "run is", "runs are")} not finished`, unfinished)] : []),
  );
}

function drawAllButFilters() {
  const view = inView();
  const chosen = chosenRows(view);
  drawHead();
  drawBody(view, chosen);
  drawChoice(view, chosen);
  drawCurves(chosen);
  drawSignificance(chosen);
}

function draw() {
  const key = document.activeElement.dataset.key; // redrawn elements keep the keyboard focus
  drawFilters();
  drawAllButFilters();
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

// Begin with the data set that has most rows, and the honest selection where there is one.
const often = (name) => values(name).reduce((best, value) => (count(name, value) > count(name, best) ? value : best), values(name)[0]);
const count = (name, wanted) => Array.from({ length: rowCount }, (_, row) => valueOf(row, name)).filter((value) => value === wanted).length;
if (rowCount) {
  state.filters.dataset = often("dataset");
  state.filters.selection = values("selection").includes("valid_refit") ? "valid_refit" : often("selection");
}
drawHeader();
draw();
requestAnimationFrame(() => setTimeout(() => performance.mark("drawn"))); // after the first picture is on the screen
