"""The commands of the report: composed again, they give the run they belong to."""

import re
import shlex

import pytest

from hapens_bench.analysis.rerun import rerun_command
from hapens_bench.config.compose import compose_config
from hapens_bench.config.identity import run_id
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import UserError
from tests.analysis.synthetic import config_of, made, make_run

SAMPLERS = sorted(path.stem for path in (conf_dir() / "sampler").rglob("*.yaml"))
TUNED = sorted(path.stem for path in (conf_dir() / "tuned" / "paper").rglob("*.yaml"))


def again(config: dict) -> str:
    """Compose what the command of a config composes, and return its run id."""
    python, m, package, *overrides = shlex.split(f"{rerun_command(config)} seed={config['seed']}")
    assert (python, m, package) == ("python", "-m", "hapens_bench")
    return run_id(compose_config(overrides))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_command_of_every_sampler_gives_the_same_run(sampler):
    config = config_of("tools", sampler, 3)
    assert again(config) == run_id(config)
    assert len(SAMPLERS) >= 14


@pytest.mark.parametrize("tuned", TUNED)
def test_the_command_of_every_tuned_config_gives_the_same_run(tuned):
    dataset, model, sampler = re.fullmatch(r"(.+)-(\w+)-(\w+)", tuned).groups()
    config = compose_config(
        [f"dataset={dataset}", f"model={model}", f"sampler={sampler}", "tuned=paper", "seed=7"]
    )
    assert again(config) == run_id(config)


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampler=softmax", "loss=bpr", "sampler.take=one", "sampler.rho=1e-05"],
        ["sampler=ssm", "loss=sampled_softmax", "model.similarity=cosine", "dataset=ml-1m"],
        [
            "protocol=clean",
            "protocol.metrics=[NDCG@10]",
            "protocol.monitor=NDCG@10",
            "trainer.patience=null",
        ],
        [
            "dataset.users=60",
            "dataset.noise=0.1",
            "trainer.drop_last=false",
            "protocol.filter.k_core=5",
        ],
        ["experiment=sdns_table2", "dataset=gowalla", "sampler=sdns", "protocol.valid.share=0.2"],
        ["protocol=sdns", "dataset=tmall", "protocol.subset.users=300"],
        [
            "experiment=tune_ahns",
            "dataset=phones",
            "sampler=dns",
            "sampler.M=64",
            "trainer.lr=0.000751",
        ],
        [
            "+dataset.note='it''s a \"b\" \\\\ c, d'",
            "~dataset.noise",
            "+dataset.list=[1,null,{a:x y}]",
            "+dataset.word='true'",
        ],
    ],
)
def test_the_command_sets_whatever_differs(overrides):
    config = compose_config([override.replace("''", "\\'") for override in overrides])
    assert again(config) == run_id(config)


def test_the_command_of_a_run_on_own_files_names_them_with_their_checksums(tmp_path):
    path = tmp_path / "my ratings.csv"
    path.write_text("a,b\n")
    config = compose_config(["dataset=mine", f"dataset.path='{path}'", "dataset.name=books"])
    assert again(config) == run_id(config)
    assert config["dataset"]["sha256"]["path"][0] in rerun_command(config)


def test_no_command_is_given_for_what_is_not_here():
    config = config_of("tools", "rns", 0)
    for name in ("easiest", "../sampler/rns", "rns,dns"):
        with pytest.raises(UserError, match="no command can be given: there is no conf/sampler/"):
            rerun_command(config | {"sampler": {"_target_": "easiest.Easiest", "name": name}})


def test_details_hold_configs_commands_and_large_seeds(tmp_path):
    folder = make_run(tmp_path, sampler="softmax", seed=2**61 + 1)
    details = made(tmp_path, tmp_path / "r.html")["details"]
    ((run,),), (command,), texts = details["runs"], details["commands"], details["texts"]
    assert (
        "".join(texts[place] for place in run["config"])
        == (folder.path / "config.yaml").read_text()
    )
    overrides = shlex.split(f"{command['line']} seed={run['seed']}")[3:]
    assert run_id(compose_config(overrides)) == run["run_id"] == folder.path.name
    assert texts[run["versions"]] == "python 3.11" and run["epochs"] == dict.fromkeys(
        run["epochs"], 5 + 2**61 + 1
    )
