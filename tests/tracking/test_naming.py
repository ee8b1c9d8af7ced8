import pytest

from hapens_bench.config.identity import identity
from hapens_bench.tracking.naming import columns, describe, run_name
from tests.conftest import make_config


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ([], "planted-mf-dns-s3"),
        (["sampler.M", "trainer.lr"], "planted-mf-dns-M8-lr0.001-s3"),
        (["loss.name", "trainer.drop_last"], "planted-mf-dns-bpr-drop_last=true-s3"),
        (["sampler.name_of_nothing", "protocol.split", "seed.x"], "planted-mf-dns-s3"),
        (["protocol.selection"], "planted-mf-dns-selection=test_peak+valid+valid_refit-s3"),
        (["trainer.patience"], "planted-mf-dns-patience=null-s3"),
        (["dataset.seed", "sampler.M", "x.M"], "planted-mf-dns-seed0-M8-s3"),
    ],
)
def test_a_name_has_the_listed_keys_that_the_run_has(keys, name):
    config = make_config(
        "sampler=dns", "sampler.M=8", "seed=3", "trainer.lr=1e-3", "trainer.patience=null"
    )
    assert run_name({**config, "sweep": {"id": "a", "keys": keys}}) == name


def test_keys_with_the_same_end_are_written_in_full():
    config = make_config("sampler=dns")
    config["model"] |= {"M": 2}
    config["sweep"] = {"id": "a", "keys": ["sampler.M", "model.M"]}
    assert run_name(config) == f"planted-mf-dns-sampler.M{config['sampler']['M']}-model.M2-s0"


def test_a_run_from_before_sweeps_had_ids_has_a_name(tmp_path):
    told = describe(make_config("dataset=tools", "sampler=dns"), tmp_path / "abc")
    assert (told.run_id, told.name, told.group) == ("abc", "tools-mf-dns-s0", "tools-mf")
    assert told.tags == ("tools", "mf", "dns", "ahns") and told.columns["sweep"] is None


def test_every_key_that_can_change_a_result_is_a_column():
    config = make_config("sampler=ahns", "dataset=tools")
    found = columns(config)
    for section, keys in identity(config).items():
        for key in keys if isinstance(keys, dict) else ():
            known = f"{section}.{key}" in found or any(
                name.startswith(f"{section}.{key}.") for name in found
            )
            assert known or key in ("name", "_target_"), key
    assert found["sampler"] == "ahns" and found["sampler.alpha"] == config["sampler"]["alpha"]
    assert found["trainer.device"] == "auto" and found["protocol"] == "ahns"
    assert not [key for key in found if "sources" in key or key.endswith("_target_")]
