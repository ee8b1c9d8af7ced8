"""The sweep of docs/wandb_sweep.yaml, with the command lines that W&B's own agent makes of it."""

import re
import subprocess
import sys

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.job import Job
from hapens_bench.launch.validate import check
from tests.conftest import make_config
from tests.tracking.readers import wandb_synced

FILE = conf_dir().parent / "docs" / "wandb_sweep.yaml"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="a wheel has no docs")


def command(**chosen):
    """The command line of an agent for the parameters that W&B has chosen (`wandb_agent.py`)."""
    sweep = yaml.safe_load(FILE.read_text())
    values = {}
    for name, space in sweep["parameters"].items():
        first = space.get("value", space.get("values", [space.get("min")])[0])
        values[name] = {"value": chosen.pop(name, first)}
    assert not chosen, "a parameter of the file"
    parts = create_sweep_command_args({"args": values})
    parts |= {"env": ["/usr/bin/env"], "interpreter": [sys.executable]}
    words = []
    for word in create_sweep_command(sweep["command"]):
        words += parts[word[2:-1]] if word.startswith("${") else [word]
    return words


def overrides(words):
    return words[words.index("hapens_bench") + 1 :]


def test_every_value_of_the_file_can_be_trained():
    parameters = yaml.safe_load(FILE.read_text())["parameters"]
    for name, space in parameters.items():
        for value in space.get("values", [space.get("value"), space.get("min"), space.get("max")]):
            if value is not None:
                check(make_config(*overrides(command(**{name: value}))))
    config = make_config(*overrides(command(**{"sampler.M": 8, "trainer.lr": 0.00213, "seed": 2})))
    assert (config["sampler"]["M"], config["trainer"]["lr"], config["seed"]) == (8, 0.00213, 2)
    assert config["logger"]["wandb"]["mode"] == "online"


def test_a_trial_of_an_agent_reports_the_value_that_the_sweep_maximises(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    words = command(**{"sampler.M": 8})
    small = ["dataset.users=60", "dataset.items=300", "trainer.epochs=3", "trainer.batch_size=128"]
    small += ["logger.wandb.mode=offline", f"paths.cache={tmp_path / 'cache'}"]
    done = subprocess.run([*words, *small], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (place,) = re.findall(r"wandb sync (\S+)", done.stdout)
    synced = wandb_synced(tmp_path / place)
    job = Job(make_config(*overrides([*words, *small]), f"paths.runs={tmp_path / 'runs'}"), [])
    metric = yaml.safe_load(FILE.read_text())["metric"]["name"]
    assert synced["summary"][metric] == job.objective()
    assert synced["config"]["sampler.M"]["value"] == 8
    name = synced["run"]["displayName"]
    assert name.startswith("planted-mf-dns-selection=valid-M8-lr0.0001-") and name[-3:] == "-s0"
