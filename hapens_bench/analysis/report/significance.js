// The pairs of the chosen rows that were tested, over seeds and over users.
function drawSignificance(chosen) {
  const groups = testedGroups(chosen);
  if (!groups.length) {
    fill("matrix-choice");
    fill("matrices", el("p", { class: "empty" }, "Fewer than two of the chosen rows of a data set and selection are tested."));
    return;
  }
  state.group = Math.min(state.group, groups.length - 1);
  const { group, members } = groups[state.group];
  const name = ({ group: { dataset, protocol, selection } }) => `${dataset} · ${protocol} · ${selection}`;
  const metrics = Object.keys(group.metrics);
  const metric = metrics.includes(state.metric) ? state.metric : metrics[0];
  const which = picker("group", groups.map((one, k) => [k, name(one)]), state.group, (value) => { state.group = Number(value); draw(); });
  const measure = picker("tested metric", metrics.map((one) => [one, one]), metric, (value) => { state.metric = value; draw(); });
  fill("matrix-choice", which, measure);
  const tests = group.metrics[metric];
  fill(
    "matrices",
    matrix("over seeds: paired t test", group, members, tests, tests.seeds, tests.seedWords),
    matrix("over users: sign-flip permutation test", group, members, tests, tests.users, tests.userWords),
  );
}

// For each tested group, the places of the chosen settings within it.
function testedGroups(chosen) {
  const found = part("tests").map((group) => {
    const wanted = new Set(chosen.filter((row) => rows.selection[row] === group.selection).map((row) => rows.setting[row]));
    return { group, members: group.settings.map((_, k) => k).filter((k) => wanted.has(group.settings[k])) };
  });
  return found.filter(({ members }) => members.length > 1);
}

// Pairs are numbered (0, 1), (0, 2), ..., (1, 2), ...
const pairPlace = (a, b, size) => a * size - (a * (a + 1)) / 2 + (b - a - 1);

function matrix(title, group, members, tests, p, words) {
  const nameOf = (k) => {
    const setting = group.settings[k];
    const model = values("model").length > 1 ? `${ledger.settings.model[setting]} ` : "";
    return model + ledger.settings.sampler[setting];
  };
  const cell = (a, b) => {
    if (a === b) return el("td", {}, "");
    const place = pairPlace(Math.min(a, b), Math.max(a, b), group.settings.length);
    const found = tests.difference[place];
    const difference = found === null ? null : a < b ? found : -found;
    const sure = p[place] !== null && p[place] < 0.05;
    const text = difference === null ? "–" : `${difference > 0 ? "+" : ""}${fixed(difference)}`;
    const said = words[place] || (p[place] < 0.001 ? "p < 0.001" : `p ${fixed(p[place], 3)}`);
    return el("td", { class: sure ? (difference > 0 ? "better" : "worse") : "" }, text, el("small", {}, said));
  };
  const head = el("tr", {}, el("th"), ...members.map((b) => el("th", { scope: "col" }, nameOf(b))));
  const lines = members.map((a) => el("tr", {}, el("th", { scope: "row" }, nameOf(a)), ...members.map((b) => cell(a, b))));
  return el("div", { class: "wide" }, el("table", { class: "matrix" }, el("caption", {}, title), el("thead", {}, head), el("tbody", {}, ...lines)));
}
