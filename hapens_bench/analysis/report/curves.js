// The curves of the chosen rows, and the legend that names them.
const HARDNESS = {
  ratio: "ratio of the negative's score to the positive's",
  percentile: "percentile of the negative among the user's items",
  sigmoid: "sigmoid of negative less positive score",
  false_negative_rate: "false-negative rate",
};

function drawCurves(chosen) {
  const trainings = new Map(); // test_peak and valid_refit are rows of the same training, drawn once
  for (const row of chosen) {
    const stage = rows.selection[row] === "valid" ? "held" : "full";
    const key = `${rows.setting[row]} ${stage}`;
    if (!trainings.has(key)) trainings.set(key, { row, stage, selections: [] });
    trainings.get(key).selections.push(rows.selection[row]);
  }
  const labelled = labels([...trainings.values()]);
  const series = (what, name) => labelled.map((one) => ({ ...one, ...curve(rows.setting[one.row], one.stage, what, name) }));
  const stages = unique(labelled.map((one) => one.stage));
  const measured = stages.length === 2 ? "on validation or test, by selection" : stages[0] === "held" ? "on the validation part" : "on test";
  const redraw = (key) => (value) => {
    state[key] = value;
    draw();
  };
  const metric = picker("metric", ledger.metrics.map((name) => [name, name]), state.metric, redraw("metric"));
  const hardness = picker("hardness", Object.entries(HARDNESS), state.hardness, redraw("hardness"));
  fill("metric-caption", metric, labelled.length ? `in percent, ${measured}` : "");
  fill("hardness-caption", "hardness:", hardness, state.hardness === "ratio" ? el("span", { class: "faint" }, "(outliers are cut off)") : "");
  drawChart(document.getElementById("metric-chart"), series("metrics", state.metric), false, 2);
  drawChart(document.getElementById("hardness-chart"), series("hardness", state.hardness), state.hardness === "ratio", 4);
  fill("legend", ...labelled.map((one) => el("li", {}, swatch(one.sampler), one.label, el("span", { class: "faint" }, one.where))));
}

function curve(setting, stage, what, name) {
  const found = curvesOf(setting)[stage]?.[what];
  return { epoch: found?.epoch ?? [], curves: found?.curves[name] ?? [[]] };
}

// Name each training by sampler and setting; a digit tells apart those of one sampler, which share
// its colour and dash.
function labels(trainings) {
  const several = (key) => unique(trainings.map((one) => valueOf(one.row, key))).length > 1;
  const samplers = trainings.map((one) => ofSetting(one.row, "sampler"));
  return trainings.map((one, k) => {
    const sampler = samplers[k];
    const same = (names) => names.filter((name) => name === sampler).length;
    const digit = same(samplers) > 1 ? `${same(samplers.slice(0, k + 1))}` : "";
    const where = [several("dataset") ? ofSetting(one.row, "dataset") : "", ofSetting(one.row, "keys")];
    if (several("selection")) where.push(one.selections.join(", "));
    return { ...one, sampler, digit, label: digit ? `${sampler} ${digit}` : sampler, where: where.filter(Boolean).join(" · ") };
  });
}
