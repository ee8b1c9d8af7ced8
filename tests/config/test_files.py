"""Every YAML is composed, instantiated and bound to its class."""

import re

import numpy as np
import pytest
from omegaconf import OmegaConf

from hapens_bench.analysis.figures import definition as figures
from hapens_bench.analysis.tables import definition as cells
from hapens_bench.config.components import component_class
from hapens_bench.config.paths import conf_dir, lacks_tuned_file
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from hapens_bench.launch.experiments import jobs_of, read_sweeper
from hapens_bench.launch.validate import FITTED_KEYS, TRAINER_KEYS, check
from hapens_bench.training.build import build, build_sampler
from hapens_bench.tune.plan import make_plan
from tests.conftest import make_config

CONF = conf_dir()
YAMLS = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
READ_BY_COMMANDS = [path for path in YAMLS if path.parts[0] in ("table", "figure", "tune")]
OPTIONS = [path for path in YAMLS if len(path.parts) == 2 and path not in READ_BY_COMMANDS]
TUNED = [path for path in YAMLS if path.parts[0] == "tuned" and len(path.parts) == 3]
OF_A_SET = [path for path in YAMLS if path.parts[0] == "protocol" and len(path.parts) == 3]


def test_all_files_are_accounted_for():
    assert (
        len(YAMLS) == len(OPTIONS) + len(TUNED) + len(OF_A_SET) + len(READ_BY_COMMANDS) + 1
    )  # config.yaml
    assert len(YAMLS) >= 30


@pytest.mark.parametrize("path", YAMLS, ids=str)
def test_every_file_says_what_it_is_and_how_to_use_it(path):
    assert (CONF / path).read_text().startswith("# ")


@pytest.mark.parametrize("path", OPTIONS, ids=str)
def test_every_option_composes_and_passes_the_checks(path):
    group, name = path.parts[0], path.stem
    if group == "local":
        pytest.skip("a user's own defaults")
    tuned_there = ["dataset=tools"] if group in ("experiment", "tuned") else []
    takers = {
        "whole_data": "enmf",
        "group_hinge": "gdns",
        "worst_case": "worst_case",
        "directau": "directau",
    }  # of losses over users, or without negatives
    taker = [f"sampler={takers[name]}"] if group == "loss" and name in takers else []
    # of models that are fitted, without negatives
    fits = {"none": ["model=ease"], "fitted": ["model=ease"], "ials": ["model=ials"]}
    of_fits = fits.get(name, []) if group in ("sampler", "loss", "trainer") else []
    config = make_config(*taker, *of_fits, f"{group}={name}", *tuned_there)
    if lacks_tuned_file(config):  # of settings that are still to be searched
        with pytest.raises(UserError, match="tune first, then hapens choose writes it"):
            check(config)
        return
    check(config)
    if name == "none" and of_fits:
        assert set(config[group]) == {"_target_", "name"}
        return
    if group in ("sampler", "loss"):
        assert set(config[group]) - {"_target_", "name"} == set(component_class(config[group]).keys)
        left = {
            "min": np.full(3, 0.7),
            "users": np.ones((30, 8), "f4"),
            "items": np.ones((20, 8), "f4"),
        }
        artefacts = [left] * 2  # of what comes first, for samplers that have it
        sections = [config[group]] * 2
        if group == "sampler":
            build_sampler(sections, [0, 1], 8, 30, 20, artefacts)
        else:
            build(sections, seeds=[0, 1], n_users=30)
    if group == "trainer":
        assert set(config["trainer"]) - {"name"} == set(FITTED_KEYS if of_fits else TRAINER_KEYS)
    if "name" in config.get(group, {}):
        assert config[group]["name"] == name


@pytest.mark.parametrize("path", [p for p in READ_BY_COMMANDS if p.stem != "default"], ids=str)
def test_every_table_figure_and_search_is_bound_to_configs(path, tmp_path):
    if path.parts[0] == "table":
        found = [
            cell.config_id
            for cell in cells.cells(cells.read_definition(path.stem))
            if cell.config_id
        ]
        assert len(set(found)) == len(found) > 3
    elif path.parts[0] == "tune":
        studies = make_plan(path.stem, ["tune.n_trials=1"]).studies
        assert len({study.name for study in studies}) == len(studies) > 3
        for study in studies:
            check(study.base)
    else:
        definition = figures.read_definition(path.stem)
        if "experiment" not in definition:
            return  # of any runs: tests/analysis/test_figures.py draws it
        trials = experiments.planned(definition["experiment"], tmp_path)
        assert len({trial.job.folder.path for trial in trials}) == len(trials) > 3
        for trial in trials:
            check(trial.job.config)


@pytest.mark.parametrize(
    "n_trials", [3, pytest.param(None, marks=pytest.mark.slow)]
)  # of a budget; None: all of it
@pytest.mark.parametrize("path", [p for p in OPTIONS if p.parts[0] == "experiment"], ids=str)
def test_every_trial_of_every_experiment_passes_the_checks(path, n_trials, tmp_path):
    for trial in experiments.planned(
        path.stem, tmp_path, n_trials=n_trials
    ):  # composing takes a tenth of a second each
        if lacks_tuned_file(trial.job.config):
            with pytest.raises(UserError, match="tune first, then hapens choose writes it"):
                check(trial.job.config)
        else:
            check(trial.job.config)


@pytest.mark.parametrize("path", OF_A_SET, ids=str)
def test_a_protocol_can_change_a_data_set_and_the_command_line_wins(path):
    choice = f"protocol={path.parts[1]}", f"dataset={path.stem}"
    config, plain = make_config(*choice), make_config(choice[0], "dataset=planted")
    check(config)
    for section, values in OmegaConf.to_container(OmegaConf.load(CONF / path)).items():
        for key, value in values.items():
            assert config["protocol"][section][key] == value != plain["protocol"][section][key]
            assert (
                make_config(*choice, f"protocol.{section}.{key}=null")["protocol"][section][key]
                is None
            )


@pytest.mark.parametrize("path", TUNED, ids=str)
def test_tuned_values_reach_the_config_and_the_command_line_wins(path):
    dataset, model, sampler = re.fullmatch(
        r"(.+)-(mf|gmf|lightgcn|ngcf|popularity|itemknn|ease|ials)-(.+)", path.stem
    ).groups()
    choice = f"dataset={dataset}", f"model={model}", f"sampler={sampler}", f"tuned={path.parts[1]}"
    config = make_config(*choice)
    check(config)
    tuned = OmegaConf.to_container(OmegaConf.load(CONF / path))
    for section, values in tuned.items():
        for key, value in values.items():
            assert config[section][key] == value
            typed = make_config(*choice, f"{section}.{key}=3")
            assert typed[section][key] == 3


BUDGETS = [path.stem for path in (CONF / "experiment").glob("*.yaml") if "own:" in path.read_text()]


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_every_setting_of_a_budget_passes_the_checks(name):
    dataset = str(read_sweeper(name)["params"]["dataset"]).split(",")[0]
    jobs = jobs_of([f"experiment={name}", f"dataset={dataset}", "tuned=none"])
    assert len(jobs) >= 8
    for job in jobs:
        check(job.config)
