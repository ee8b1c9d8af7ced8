// The runs of a setting: their folders, provenance and configs, and the commands that rerun them.
function runsOf(setting) {
  const { runs, commands, texts } = part("details");
  const members = runs[setting];
  const selections = unique(members.flatMap((run) => Object.keys(run.epochs)));
  const heads = ["run", "seed", ...selections.map((name) => `epoch, ${name}`), "epochs trained", "seconds", "peak MiB", "commit", "folder"];
  const lines = members.map((run) => {
    const epochs = selections.map((name) => run.epochs[name] ?? "–");
    const numbers = [run.epochs_trained, run.train_seconds, run.peak_memory_mb].map((value) => (typeof value === "number" ? value.toFixed(0) : "–"));
    return el("tr", {}, ...[run.run_id, run.seed, ...epochs, ...numbers, run.git_sha.slice(0, 10), run.folder].map((text) => el("td", {}, `${text}`)));
  });
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", {}, text)))), el("tbody", {}, ...lines));
  const of = (key) => ledger.settings[key][setting];
  const facts = `setting ${of("config_id")}, data ${of("data_hash")}, split ${of("split_id")}`;
  const command = (run) => (commands[setting].line ? el("pre", { class: "command" }, `${commands[setting].line} seed=${run.seed}`) : el("p", {}, commands[setting].words));
  const one = (run) => [
    el("h3", {}, `run ${run.run_id}: again with`),
    command(run),
    el("details", {}, el("summary", {}, `its resolved config, commit and versions`), el("p", {}, `commit ${run.git_sha}; ${texts[run.versions]}`), config(run, texts)),
  ];
  return [el("div", { class: "wide" }, table), el("p", {}, facts), ...members.flatMap(one)];
}

function config(run, texts) {
  return run.config ? el("pre", { class: "config" }, run.config.map((place) => texts[place]).join("")) : el("p", {}, "config.yaml cannot be read");
}
