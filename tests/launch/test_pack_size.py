"""How many trials a pack holds: the memory that steps take, and the memory that is free."""

import torch

from hapens_bench.launch import pack_size
from tests.conftest import make_config
from tests.launch.sweeps import SMALL


def test_size_follows_free_memory(monkeypatch):
    config, cpu = make_config(*SMALL, "sampler=dns"), torch.device("cpu")
    peaks = iter([100, 130] * 3)
    monkeypatch.setattr(pack_size, "peak_bytes", lambda work, device: next(peaks))
    monkeypatch.setattr(pack_size, "step_bytes", lambda *_: 1)
    monkeypatch.setattr(pack_size, "cache_bytes", lambda: 10**6)
    for free, expected in ((10_000, 64), (2 * 130, 5), (10, 1)):
        monkeypatch.setattr(pack_size, "free_bytes", lambda device, free=free: free)
        assert pack_size.largest_pack(config, 64, cpu) == expected
    peaks = iter([100, 130])
    monkeypatch.setattr(pack_size, "free_bytes", lambda device: 10_000)
    # on a CPU the cache bounds a pack too
    monkeypatch.setattr(pack_size, "cache_bytes", lambda: 95)
    monkeypatch.setattr(pack_size, "step_bytes", lambda *_: 30)
    assert pack_size.largest_pack(config, 64, cpu) == 3


def test_step_bytes_are_tables_gradients_and_moments_without_the_epochs_order():
    config, cpu = (
        make_config("dataset.users=4000", "dataset.items=500", "sampler=rns"),
        torch.device("cpu"),
    )
    split = pack_size.load_split(config)
    tables = 4 * (split.n_users + split.n_items) * config["model"]["D"]
    order = 16 * len(split.full_train)
    measured = pack_size.step_bytes(config, split, cpu)
    assert 4 * tables <= measured < 4 * tables + order, (measured / tables, order / tables)


def test_a_dry_step_measures_memory_and_more_trials_take_more():
    config, cpu = (
        make_config("dataset.users=4000", "dataset.items=4000", "sampler=dns"),
        torch.device("cpu"),
    )
    split = pack_size.load_split(config)
    of_one, of_eight = (
        pack_size.peak_bytes(lambda T=T: pack_size.dry_step([config] * T, split, cpu), cpu)
        for T in (1, 8)
    )
    table = 4 * 64 * 8_000  # bytes of one trial's parameters, of which a step holds several
    assert of_eight - of_one > 7 * 3 * table
    assert pack_size.free_bytes(cpu) > 10 * 2**20
