"""What overrides compose to: trackers by name, and values put in afterwards."""

import json
import re

import pytest

from hapens_bench.config.compose import compose_config, once_for_each_choice, unresolved
from hapens_bench.launch.run import make_sinks
from hapens_bench.tracking.sink import make
from tests.conftest import make_config


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
    assert [sink.worker.label for sink in sinks] == trackers
    assert [type(make(sink.section)).__name__.lower() for sink in sinks] == [
        f"{name}sink" for name in trackers
    ]


def test_trackio_keeps_its_files_beside_the_runs_unless_the_environment_differs(monkeypatch):
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    config = make_config("logger=trackio", "paths.runs=/somewhere")
    assert config["logger"]["trackio"]["folder"] == "/somewhere/.trackio"
    monkeypatch.setenv("TRACKIO_DIR", "/elsewhere")
    assert make_config("logger=trackio")["logger"]["trackio"]["folder"] == "/elsewhere"


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
