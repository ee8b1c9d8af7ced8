"""The plan of a search: settings, studies, equal budgets, and refusals."""

import pytest

from hapens_bench.cli import main
from hapens_bench.errors import UserError
from hapens_bench.tune.plan import make_plan

TWO = ["dataset=planted", "sampler=rns,dns"]


@pytest.mark.parametrize("name", ["ahns", "gdns", "ahns_paper"])
def test_every_search_of_conf_is_made(name):
    plan = make_plan(name, ["sampler=dns" if name != "gdns" else "sampler=rns", "tune.pruner=none"])
    assert plan.studies and all(len(study.fixed) <= plan.n_trials for study in plan.studies)
    assert plan.settings["pruner"] == "none" and plan.monitor in ("Recall@20", "NDCG@3")


def test_random_points_are_the_budget_sweepers_and_start_tpe():
    from hapens_bench.launch.experiments import planned

    found = make_plan(
        "ahns", ["tune.algorithm=random", "dataset=tools", "sampler=rns,dns", "tune.n_trials=5"]
    )
    for study in found.studies:
        swept = planned("tune_ahns", study.base["paths"]["runs"], ["tools"], 5)
        theirs = [one for one in swept if one.params["sampler"] == study.sampler]
        assert study.fixed == [one.setting for one in theirs]
        again = [study.planned(n, setting, 1)[0] for n, setting in enumerate(study.fixed)]
        assert [one.job.folder.path for one in again] == [one.job.folder.path for one in theirs]
    tpe = make_plan("ahns", [*TWO, "tune.n_trials=5", "tune.startup=3"])
    assert [study.fixed for study in tpe.studies] == [study.fixed[:3] for study in found.studies]


def test_the_name_of_a_study_is_of_all_that_changes_it_but_its_length():
    def name(*typed):
        return make_plan("ahns", ["dataset=planted", "sampler=dns", *typed]).studies[0].name

    assert (
        name()
        == name("tune.n_trials=3")
        == name("tune.setting=mine")
        == name("paths.runs=elsewhere")
    )
    others = [
        "trainer.epochs=7",
        "seed=4",
        "tune.seeds=2",
        "tune.batch=3",
        "tune.pruner=none",
        "sampler.M=4",
        "tune.seed=1",
    ]
    assert len({name(), *(name(typed) for typed in others)}) == len(others) + 1


def test_seeds_of_a_trial_differ_in_nothing_else():
    (study,) = make_plan("ahns", ["dataset=planted", "sampler=dns", "seed=3"]).studies
    trials = study.planned(0, study.fixed[0], 2)
    assert [one.job.config["seed"] for one in trials] == [3, 4]
    assert {**trials[0].job.config, "seed": 4} == trials[1].job.config
    assert "seed=4" in trials[1].job.overrides and "seed=3" not in trials[1].job.overrides


def test_what_is_typed_is_not_searched():
    (study,) = make_plan(
        "ahns", ["dataset=planted", "sampler=dns", "sampler.M=4", "tune.n_trials=4"]
    ).studies
    assert list(study.space) == ["trainer.l2", "trainer.lr"]
    assert all(one.job.config["sampler"]["M"] == 4 for one in study.planned(0, study.fixed[0], 1))


GRID = ["tune.algorithm=grid", "trainer.lr=0.001", "trainer.l2=0.01", "dataset=planted"]


def test_a_grid_holds_each_point_once_in_an_order_that_a_longer_budget_keeps():
    (study,) = make_plan("ahns", [*GRID, "sampler=mixgcf", "tune.n_trials=5"]).studies
    assert sorted(study.fixed) == sorted([f"sampler.M={M}"] for M in (2, 4, 8, 16, 32, 64))
    assert study.fixed != [[f"sampler.M={M}"] for M in (2, 4, 8, 16, 32, 64)]
    shorter = make_plan("ahns", [*GRID, "sampler=mixgcf", "tune.n_trials=2"])
    assert shorter.studies[0].fixed == study.fixed and shorter.n_trials == 2
    paper = make_plan("ahns_paper", ["dataset=planted"])
    assert (
        paper.n_trials == 3
        and {len(s.fixed) for s in paper.studies} == {3}
        and len(paper.studies) == 6
    )


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["sampler=nope"], "there is no sampler 'nope'; choose one of"),
        (["sampler=rns,pns"], "hydra.sweeper.own has no space for pns"),
        (
            ["sampler=rns", "trainer.lr=0.1", "trainer.l2=0"],
            "the space of rns is empty: there is nothing to tune",
        ),
        (
            ["tune.algorithm=nope"],
            "tune.algorithm is 'nope', but it takes one of tpe, random, grid",
        ),
        (["tune.nope=1"], "there is no key tune.nope"),
        (["tune.n_trials=0"], "tune.n_trials is 0, but it takes a whole number at least 1 or null"),
        (["tune.n_trials=2,4"], "lists several values, but a search has one tune.n_trials"),
        (["tune.pruner=asha"], "tune.pruner is 'asha'"),
        (["tune.baseline=ssm"], "tune.baseline is 'ssm', but the samplers are rns, dns"),
        (["tune.setting=../up"], "a setting is named by letters, digits and _, not '../up'"),
        (["tune.setting=equal"], "conf/tuned/equal is shipped"),
        (["tune.experiment=ahns_fig5"], "has no hydra.sweeper.own"),
        (
            ["tune.experiment=tune_ahns_paper", "sampler=dns"],
            "has no budget; take tune.n_trials=16",
        ),
        (
            ["tune.algorithm=grid"],
            "the space of trainer.l2 is an interval, which a grid cannot try",
        ),
        (["model=mf,lightgcn"], "model lists several values, but only dataset and sampler may"),
        (["hydra.sweeper.n_trials=3"], "hapens tune takes no hydra.sweeper.n_trials"),
        (
            ["protocol.selection=[test_peak]"],
            "compared on validation alone: take protocol.selection=[valid]",
        ),
        (["trainer.nope=1"], "there is no key trainer.nope"),
        (["sampler=dns", "sampler.M=5000"], "sampler.M is 5000, but planted has 2000 items"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, typed, words):
    runs = [f"paths.runs={tmp_path / 'runs'}", f"paths.cache={tmp_path / 'cache'}"]
    assert main.main(["tune", "ahns", *TWO, *runs, *typed, f"tune.out={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("error: ") == 1 and error.strip().count("\n") == 0
    assert not list(tmp_path.rglob("status.json"))


def test_grids_of_different_sizes_are_refused_and_a_common_part_is_taken():
    both = [*GRID, "sampler=ssm,dns", "tune.n_trials=5"]
    with pytest.raises(
        UserError,
        match=r"the grids have ssm 4, dns 6 points, and budgets must be equal.* at most 4",
    ):
        make_plan("ahns", both)
    assert make_plan("ahns", [*both, "tune.n_trials=4"]).n_trials == 4


def test_an_unknown_search_and_a_missing_optuna_are_told(capsys, monkeypatch):
    assert main.main(["tune", "nope"]) == 2
    assert (
        "there is no tune 'nope'; choose one of ahns, ahns_paper, baselines, compare, gdns"
        in capsys.readouterr().err
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main.main(["tune", "ahns"]) == 2
    assert (
        capsys.readouterr().err
        == "error: hapens tune needs optuna: pip install 'hapens_bench[tune]'\n"
    )
