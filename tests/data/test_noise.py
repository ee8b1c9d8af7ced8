import numpy as np
import pytest

from hapens_bench.data.load import load
from hapens_bench.data.noise import add_noise, noisy_users
from hapens_bench.errors import UserError
from tests.conftest import make_config

NOISE = "+protocol.noise={users: 0.3, most: 3, seed: 5}"


def split_of(tmp_path, *overrides):
    config = make_config("dataset.users=200", "dataset.items=400", *overrides)
    return load(config["dataset"], config["protocol"], tmp_path, None)


def test_a_share_of_the_users_get_one_to_three_random_items_and_nobody_else_anything(tmp_path):
    plain, noisy = split_of(tmp_path), split_of(tmp_path, NOISE)
    before, after = ({tuple(pair) for pair in split.train.tolist()} for split in (plain, noisy))
    users, counts = np.unique([user for user, _ in after - before], return_counts=True)
    chosen = noisy_users(plain, 0.3, 5)
    assert before < after and set(users) <= set(chosen) and len(chosen) == round(0.3 * 200)
    assert len(users) >= len(chosen) - 3, "a draw that hits a known pair is left out"
    assert set(counts) == {1, 2, 3}
    held = {tuple(pair) for pair in np.concatenate([plain.valid, plain.test]).tolist()}
    assert not held & after
    assert np.array_equal(plain.valid, noisy.valid) and np.array_equal(plain.test, noisy.test)
    items = np.array([item for _, item in after - before])
    assert abs(items.mean() / 400 - 0.5) < 0.1, "uniform over all items, whatever their popularity"
    assert plain.data_hash != noisy.data_hash == split_of(tmp_path, NOISE).data_hash
    assert add_noise(plain, 0.0, 3, 5).data_hash == plain.data_hash


def test_another_seed_draws_others(tmp_path):
    plain = split_of(tmp_path)
    one, other = add_noise(plain, 0.3, 3, 1), add_noise(plain, 0.3, 3, 2)
    assert one.data_hash != other.data_hash


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"protocol\.noise\.most is 0, but it takes a whole number at least 1"
    ):
        split_of(tmp_path, NOISE.replace("most: 3", "most: 0"))
