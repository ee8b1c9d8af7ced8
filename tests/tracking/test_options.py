"""A tracker's options are checked before training, and its environment is respected."""

import json

import pytest

from hapens_bench.config.components import component_class
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from hapens_bench.launch.validate import check
from hapens_bench.tracking.naming import describe
from hapens_bench.tracking.wandb import WandbSink
from tests.conftest import make_config


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_PROJECT", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.wandb.project=2024", "logger.wandb.project is 2024, but it takes a text"),
        ("logger.wandb.project=a/b", "but it takes a text without / "),
        ("logger.wandb.mode=onlin", "but it takes one of online, offline, disabled"),
        ("logger.wandb.entity=[me]", "logger.wandb.entity is"),
        ("logger.wandb.group=1", "logger.wandb.group is 1, but it takes a text or null"),
        ("+logger.wandb.proejct=1", "did you mean project?"),
        ("~logger.wandb.mode", "logger.wandb.mode is missing"),
        ("logger.trackio.folder=1", "logger.trackio.folder is 1, but it takes a text"),
        ("logger.trackio=1", "logger.trackio is 1, but it takes a section of keys"),
        ("logger.wandb._target_=nowhere.Sink", "cannot import 'nowhere.Sink'"),
    ],
)
def test_a_wrong_option_is_refused_before_training(override, message):
    with pytest.raises(UserError) as caught:
        check(make_config("logger=[wandb,trackio]", override))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_right_options_pass():
    check(make_config("logger=[wandb,trackio]"))
    check(make_config("logger=wandb", "logger.wandb.mode=disabled", "logger.wandb.project='2024'"))


def test_the_environment_sets_project_and_mode(monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "2024")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    config = make_config("logger=wandb", "seed=1", "+probe.fresh=1")
    assert config["logger"]["wandb"]["project"] == "2024"
    assert config["logger"]["wandb"]["mode"] == "disabled"
    check({key: value for key, value in config.items() if key != "probe"})


def test_a_declared_option_is_one_of_the_file():
    for name in ("wandb", "trackio"):
        section = make_config(f"logger={name}")["logger"][name]
        assert set(section) - {"_target_", "limit"} == set(component_class(section).keys)
    assert (conf_dir() / "logger/none.yaml").is_file()


def test_a_disabled_tracker_leaves_nothing(tmp_path):
    config = make_config("logger=wandb")
    sink = WandbSink("mine", None, "disabled", None, 5)
    row = {"stage": "full", "epoch": 0, "train/loss": 1.0}
    sink.start(describe(config, tmp_path, [row]))
    report = {"epoch": 0, "converged": True, "test": {"Recall@20": 0.1}}
    sink.finish(json.loads(json.dumps({"selection": {"valid": report}})))
    assert list(tmp_path.iterdir()) == []
