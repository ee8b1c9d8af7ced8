"""What a run's id and a config's id depend on, and that those of earlier runs stay."""

import pytest

from hapens_bench.config.identity import came_later, config_id, identity, run_id, split_id
from tests.conftest import make_config


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
        "trainer.weight_decay=0.1",
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
    "experiment=sdns_table2 dataset=tmall sampler=sdns dataset.source=gathered "
    "trainer.eval_every=5 trainer.patience=5": (
        "ce5c6f17e1ec",
        "0eeaa12dc153",
        "7b8678b8973c",
    ),
    "experiment=sdns_fig3 dataset=taobao sampler=sdns dataset.source=gathered "
    "trainer.eval_every=5": (
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
