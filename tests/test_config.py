"""Every YAML is composed, instantiated and bound to its class; mistakes fail before training."""

import json
import re

import numpy as np
import pytest
from omegaconf import OmegaConf

from hapens_bench.analysis.figures import definition as figures
from hapens_bench.analysis.tables import definition as cells
from hapens_bench.config.components import component_class
from hapens_bench.config.compose import compose_config, once_for_each_choice, unresolved
from hapens_bench.config.identity import came_later, config_id, identity, run_id, split_id
from hapens_bench.config.paths import conf_dir, lacks_tuned_file
from hapens_bench.errors import UserError
from hapens_bench.launch import experiments
from hapens_bench.launch.run import make_sinks
from hapens_bench.launch.validate import TRAINER_KEYS, check
from hapens_bench.training.pack import build, build_sampler
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
    }  # of losses over users
    of_groups = [f"sampler={takers[name]}"] if group == "loss" and name in takers else []
    config = make_config(*of_groups, f"{group}={name}", *tuned_there)
    check(config)
    if group in ("sampler", "loss"):
        assert set(config[group]) - {"_target_", "name"} == set(component_class(config[group]).keys)
        left = {
            "min": np.full(3, 0.7),
            "users": np.ones((30, 8), "f4"),
            "items": np.ones((20, 8), "f4"),
        }
        artefacts = [left] * 2  # of what comes first, for samplers that have it
        sections = [config[group]] * 2
        build_sampler(sections, [0, 1], 8, 30, 20, artefacts) if group == "sampler" else build(
            sections
        )
    if group == "trainer":
        assert set(config["trainer"]) - {"name"} == set(TRAINER_KEYS)
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
    dataset, model, sampler = re.fullmatch(r"(.+)-(mf|gmf|lightgcn|ngcf)-(.+)", path.stem).groups()
    choice = f"dataset={dataset}", f"model={model}", f"sampler={sampler}", f"tuned={path.parts[1]}"
    config = make_config(*choice)
    check(config)
    tuned = OmegaConf.to_container(OmegaConf.load(CONF / path))
    for section, values in tuned.items():
        for key, value in values.items():
            assert config[section][key] == value
            typed = make_config(*choice, f"{section}.{key}=3")
            assert typed[section][key] == 3


@pytest.mark.parametrize(
    ("choice", "trackers"),
    [
        ("none", []),
        ("wandb", ["wandb"]),
        ("trackio", ["trackio"]),
        ("[wandb,trackio]", ["wandb", "trackio"]),
    ],
)
def test_trackers_are_chosen_by_name_or_as_a_list(choice, trackers):
    config = make_config(f"logger={choice}", "paths.runs=/somewhere")
    assert list(config["logger"]) == trackers
    sinks = make_sinks(config)
    assert [sink.label for sink in sinks] == trackers
    assert [type(sink.make()).__name__.lower() for sink in sinks] == [
        f"{name}sink" for name in trackers
    ]


def test_trackio_keeps_its_files_beside_the_runs_unless_the_environment_differs(monkeypatch):
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    config = make_config("logger=trackio", "paths.runs=/somewhere")
    assert config["logger"]["trackio"]["folder"] == "/somewhere/.trackio"
    monkeypatch.setenv("TRACKIO_DIR", "/elsewhere")
    assert make_config("logger=trackio")["logger"]["trackio"]["folder"] == "/elsewhere"


def test_a_run_id_ignores_what_cannot_change_the_result():
    base = make_config("dataset=tools")
    for same in (
        "trainer.device=cpu",
        "trainer.threads=1",
        "trainer.eval_memory_mb=5",
        "paths.runs=/elsewhere",
        "resume=force",
        "logger=wandb",
        "logger=[wandb,trackio]",
        "dataset.sources.author.licence=other",
        "trainer.lr=1e-3",
        "trainer.l2=0.00010",
    ):
        assert run_id(make_config("dataset=tools", same)) == run_id(base), same
    ids = {run_id(base)}
    for other in (
        "seed=1",
        "trainer.lr=0.002",
        "sampler=dns",
        "protocol.valid.seed=3",
        "model.D=32",
        "trainer.epochs=9",
    ):
        ids.add(run_id(make_config("dataset=tools", other)))
    assert len(ids) == 7


def test_keys_that_came_later_leave_the_ids_of_earlier_runs_alone():
    config = make_config("dataset=tools", "sampler=ahns")
    assert run_id(config) == "c4bf935120fb" and config_id(config) == "b06cd9629e2f"
    sections = {name: config[name] for name in ("protocol", "model", "loss", "trainer")}
    later = {name: came_later(name, section) for name, section in sections.items()}
    assert set(later["model"]) == {"init", "std"} and later["protocol"] and later["trainer"]
    earlier = dict(config)
    for name, section in sections.items():
        earlier[name] = {k: v for k, v in section.items() if k not in later[name]}
    assert run_id(earlier) == run_id(config) and identity(earlier) == identity(config)
    assert split_id(earlier) == split_id(config) == "28add02bb8ec"
    for other in (
        "trainer.optimizer=adagrad",
        "trainer.reduction=sum",
        "trainer.initial_accumulator=0.1",
        "protocol.mask=train",
        "model.init=normal",
    ):
        assert run_id(make_config("dataset=tools", "sampler=ahns", other)) != run_id(config)


# What these configs hashed to before protocol.mask, model.init of MF and loss.form were there.
IDS = {
    "dataset=gowalla protocol=sdns": ("fa6300e654b9", "369d5c65aa5a", "345c95a1385c"),
    "dataset=tmall protocol=ahns": ("12aa88c8831e", "324ce12c9821", "7690b7e57834"),
    "protocol=sdns dataset=tmall dataset.source=gathered": (
        "c9aedd32c75e",
        "cca6f401f4a3",
        "7b8678b8973c",
    ),
    "protocol=sdns dataset=taobao dataset.source=gathered": (
        "8c517999b633",
        "5e09acc3a51e",
        "9511c9ff8cfc",
    ),
    "dataset=taobao protocol=clean": ("369adf16a3f1", "b0291a3fea5d", "d7fab2cf72be"),
    "dataset=ml-1m protocol=gdns": ("ddfdcaa2c726", "b64fd33a7d31", "66f9276bc96d"),
    "dataset=ml-1m protocol=sdns": ("c0f61ec60803", "8fd474e94abd", "b01b3b6b680b"),
    "dataset=planted protocol=gdns_relabelled": ("2559d17a8910", "af62a54093ca", "e9c0c39ad6ab"),
    "dataset=tools protocol=clean": ("10fe9b0daf50", "8795507ec3d1", "28add02bb8ec"),
    "dataset=tools model=mf sampler=rns": ("b5d79f590c80", "61d5d4ecb2f1", "28add02bb8ec"),
    "dataset=tools model=mf sampler=hapens": ("1e87916bc5c4", "b5c2554a4911", "28add02bb8ec"),
    "dataset=tools model=gmf sampler=ahns": ("6d82676c28ae", "07167be425df", "28add02bb8ec"),
    "dataset=tools model=lightgcn sampler=sdns": ("b95c7fcbff8c", "fc18c4e9d7da", "28add02bb8ec"),
    "dataset=tools model=ngcf sampler=rns": ("83185c581e14", "5126eee4dce4", "28add02bb8ec"),
    "model.similarity=cosine model.D=32": ("eae6384518d9", "a0b51d87baf5", "6c2d2c52886e"),
    "experiment=ahns_table2 dataset=tools": ("b5d79f590c80", "61d5d4ecb2f1", "28add02bb8ec"),
    "experiment=gdns_table3 dataset=tools": ("de6be1362774", "30b71ade6f1f", "377ddf7f5150"),
    "experiment=hapens_table dataset=tools": ("fd2f68909b7f", "a28d02a2a058", "28add02bb8ec"),
    "experiment=sdns_table2 dataset=tmall sampler=sdns dataset.source=gathered": (
        "ce5c6f17e1ec",
        "0eeaa12dc153",
        "7b8678b8973c",
    ),
    "experiment=sdns_fig3 dataset=taobao sampler=sdns dataset.source=gathered": (
        "5900809ca0dc",
        "2acca496f2e0",
        "9511c9ff8cfc",
    ),
}


@pytest.mark.parametrize("overrides", IDS)
def test_the_ids_of_runs_from_before_those_keys_are_what_they_were(overrides):
    config = make_config(*overrides.split())
    assert (run_id(config), config_id(config), split_id(config)) == IDS[overrides]


def test_a_config_id_is_shared_by_seeds_only():
    assert config_id(make_config("seed=5")) == config_id(make_config("seed=0"))
    assert config_id(make_config("seed=5")) != config_id(make_config("trainer.l2=1"))


def test_a_whole_number_is_the_same_setting_however_it_is_written():
    assert run_id(make_config("sampler=ahns", "sampler.alpha=1")) == run_id(
        make_config("sampler=ahns", "sampler.alpha=1.0")
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.lr=0", "trainer.lr is 0, but it takes a number above 0"),
        ("trainer.lr=-1", "trainer.lr is -1, but it takes a number above 0"),
        ("trainer.lr=fast", "trainer.lr is 'fast', but it takes a number above 0"),
        ("trainer.l2=nan", "trainer.l2 is nan, but it takes a number at least 0"),
        ("trainer.epochs=1.5", "trainer.epochs is 1.5, but it takes a whole number at least 1"),
        ("trainer.drop_last=2", "trainer.drop_last is 2, but it takes true or false"),
        (
            "trainer.patience=0",
            "trainer.patience is 0, but it takes a whole number at least 1 or null",
        ),
        ("model.D=0", "model.D is 0, but it takes a whole number at least 1"),
        ("seed=-1", "seed is -1, but it takes a whole number at least 0"),
        ("resume=maybe", "resume is 'maybe', but it takes one of auto, force, never"),
        ("protocol.selection=[best]", "test_peak, valid, valid_refit"),
        ("protocol.selection=[]", "test_peak, valid, valid_refit"),
        (
            "protocol.monitor=AUC",
            "protocol.monitor is 'AUC', but it must stand in protocol.metrics",
        ),
        ("protocol.metrics=[Recall@20,Foo@3]", "there is no metric 'Foo@3'"),
        (
            "protocol.ranking=some",
            "protocol.ranking is 'some', but it takes one of full, candidates",
        ),
        (
            "protocol.ranking=candidates",
            "one held-out item a user: protocol.split.kind=leave_one_out",
        ),
        (
            "protocol.metrics=[Recall@20,full/Recall@20]",
            "protocol.metrics names full/..., but protocol.ranking=full",
        ),
        ("protocol.metrics=[Recall@20,half/Recall@20]", "there is no metric 'half/Recall@20'"),
        ("+sampler.foo=1", "there is no key sampler.foo; sampler takes no keys"),
        ("sampler._target_=nowhere.Sampler", "cannot import 'nowhere.Sampler'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(override, message):
    with pytest.raises(UserError) as caught:
        check(make_config(override))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_candidate_ranking_needs_its_lists_and_a_metric_of_its_own():
    with pytest.raises(UserError, match=r"needs protocol\.candidates; take protocol=gdns"):
        check(make_config("protocol.ranking=candidates", "protocol.split.kind=leave_one_out"))
    with pytest.raises(UserError, match=r"nothing but full/\.\.\.; take protocol\.ranking=full"):
        check(
            make_config(
                "protocol=gdns", "protocol.metrics=[full/NDCG@3]", "protocol.monitor=full/NDCG@3"
            )
        )
    check(make_config("protocol=gdns", "protocol.monitor=full/NDCG@20"))


def test_samplers_of_user_groups_go_with_losses_over_users_only():
    with pytest.raises(
        UserError, match="sampler=enmf works on user groups, but loss=bpr on interactions"
    ):
        check(make_config("sampler=enmf", "loss=bpr"))
    with pytest.raises(
        UserError, match="sampler=rns works on interactions, but loss=whole_data on user groups"
    ):
        check(make_config("loss=whole_data"))


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError, match=r"seed is -3.*trainer\.lr.*model\.D"):
        check(make_config("seed=-3", "trainer.lr=0", "model.D=0"))


def test_a_setting_that_was_never_tuned_is_refused_not_run_untuned():
    tuned = make_config("dataset=tools", "sampler=dns", "tuned=equal")
    assert lacks_tuned_file(tuned) is None and tuned["trainer"]["l2"] > 0.01
    check(tuned)
    with pytest.raises(
        UserError, match=r"tuned=equal needs conf/tuned/equal/planted-mf-dns\.yaml: tune first"
    ):
        check(make_config("dataset=planted", "sampler=dns", "tuned=equal"))
    check(make_config("dataset=planted", "sampler=dns", "tuned=paper"))


def test_overrides_that_differ_by_values_alone_are_composed_once():
    asked = []

    def compose(overrides):
        asked.append(list(overrides))
        return unresolved(overrides)

    composed = once_for_each_choice(compose)
    sweeps = [
        ["sampler=dns", f"sampler.M={M}", f"seed={seed}"] for M in (4, 8) for seed in (0, 1, 7)
    ]
    assert [composed(overrides) for overrides in sweeps] == [
        compose_config(overrides) for overrides in sweeps
    ]
    assert asked == [["sampler=dns"]]
    elsewhere = [[f"seed={seed}", "sampler=dns", "sampler.M=${seed}"] for seed in (2, 3)]
    assert [composed(overrides)["sampler"]["M"] for overrides in elsewhere] == [2, 3]
    assert composed(["sampler=dns"]) == compose_config(["sampler=dns"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.lr=1e-3", "trainer.lr=0.5", "seed=3", "resume=force"],
        [
            "experiment=tune_hapens",
            "sampler=hapens",
            "dataset=tools",
            "trainer.l2=0.3",
            "sampler.M=null",
        ],
        ["protocol.selection=[valid,valid_refit]", "paths.runs='a b/@c'", 'sampler.name="x=y, z"'],
        [
            "sampler=hapens",
            "protocol.valid={share: 0.2}",
            "protocol.valid.share=0.3",
            "sampler.first.plain.sampler={}",
        ],
        [
            "sampler=hapens",
            "+sampler.first.worst_case.trainer.epochs=3",
            "sampler.first.worst_case.trainer.epochs=4",
        ],
        ["sampler=dns", "sampler.M=3", "~sampler.M"],
        ["paths.runs=here", "paths={runs: there}"],
        [
            "model=gmf",
            "tuned=paper",
            "dataset=ml-1m",
            "sampler=irgan",
            "trainer.epochs=${trainer.eval_every}",
        ],
        ["hydra.job.name=other", "hydra/launcher=basic", "trainer.device='${oc.env:HOME}'"],
        ["dataset.name=null", "model.D=0x10", "loss.name=true"],
    ],
    ids=str,
)
def test_values_that_are_put_in_afterwards_give_what_hydra_composes(overrides):
    composed, expected = once_for_each_choice(unresolved), compose_config(overrides)
    first = composed(overrides)
    assert first == expected and json.dumps(first) == json.dumps(expected)
    first["trainer"]["lr"] = first["paths"]["runs"] = "spoilt"
    assert composed(overrides) == expected


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampler=dns", "sampler.nope=3"],
        ["nope.at.all=3"],
        ["trainer.lr=1,2"],
        ["seed=choice(1,2)"],
        ["seed.x=3"],
        ["trainer.lr=[1"],
        ["sampler=nope", "sampler.M=3"],
        ["+trainer.lr=3"],
        ["~trainer.nope"],
        ["trainer.lr=${nope}"],
        ["dataset.name.x=1"],
    ],
    ids=str,
)
def test_what_hydra_refuses_is_refused_in_its_words(overrides):
    with pytest.raises(Exception) as expected:
        compose_config(overrides)
    with pytest.raises(type(expected.value), match=re.escape(str(expected.value))):
        once_for_each_choice(unresolved)(overrides)
