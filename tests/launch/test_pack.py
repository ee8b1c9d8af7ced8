import errno
import itertools
import json

import pytest
import torch
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from hapens_bench.config.identity import run_id
from hapens_bench.errors import UserError
from hapens_bench.launch import pack_size
from hapens_bench.launch.job import Job
from hapens_bench.launch.packing import group, shares
from hapens_bench.launch.sweep import launch, on_devices
from hapens_bench.runs.files import Files
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.pack import Pack
from tests.conftest import make_config

SMALL = [
    "dataset.users=80",
    "dataset.items=300",
    "trainer.batch_size=128",
    "trainer.epochs=6",
    "trainer.eval_every=2",
]


def sweep(tmp_path, variants, *overrides, carry=None, **options):
    base = [
        *SMALL,
        f"paths.runs={tmp_path / 'runs'}",
        f"paths.cache={tmp_path / 'cache'}",
        *overrides,
    ]

    def compose(these):
        return OmegaConf.create(make_config(*base, *these))

    returns = launch(
        [[f"seed={k}", *v] for k, v in enumerate(variants)], compose, carry or on_devices(**options)
    )
    return returns, [Job(make_config(*base, *r.overrides), r.overrides) for r in returns]


def found(job):
    """All that a run folder says, less what may differ: times, pack sizes, memory."""
    summary = job.folder.read_summary()
    history = job.folder.read_frame("history").drop(columns=["seconds", "pack_size"])
    return (
        summary["selection"],
        summary["epochs_trained"],
        history.to_dict("list"),
        job.folder.read_frame("users"),
    )


def assert_equal(mine, theirs):
    for one, other in zip(mine, theirs, strict=True):
        one, other = found(one), found(other)
        assert one[:2] == other[:2] and one[3].equals(other[3])
        for column, values in one[2].items():
            assert repr(values) == repr(other[2][column]), column


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("three"), [[]] * 3)[1]


VARIANTS = [
    [],
    ["trainer.lr=0.01"],
    ["trainer.l2=0.1"],
    ["sampler.alpha=0.3"],
    ["sampler.beta=0.9"],
]


def test_packed_runs_leave_the_folders_that_single_runs_leave(tmp_path):
    returns, packed = sweep(tmp_path / "packed", VARIANTS, "sampler=ahns")
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 5
    _, single = sweep(tmp_path / "single", VARIANTS, "sampler=ahns", max_trials=1)
    assert_equal(packed, single)
    assert [run_id(j.config) for j in packed] == [run_id(j.config) for j in single]
    assert packed[0].folder.read_frame("history")["pack_size"].eq(5).all()
    assert single[0].folder.read_frame("history")["pack_size"].eq(1).all()
    assert sorted(p.name for p in packed[0].folder.path.iterdir()) == sorted(
        p.name for p in single[0].folder.path.iterdir()
    )


def test_what_may_share_a_pack():
    def jobs(*variants):
        return [
            Job(make_config("sampler=ahns", f"seed={k}", *v), []) for k, v in enumerate(variants)
        ]

    same = jobs([], ["trainer.lr=0.1"], ["trainer.l2=0"], ["sampler.alpha=3"], ["sampler.p=-1"])
    assert [len(g) for g in group(same)] == [5]
    for other in (
        "sampler.M=9",
        "model.D=8",
        "trainer.batch_size=7",
        "dataset.users=60",
        "protocol.valid.share=0.2",
    ):
        assert sorted(len(g) for g in group([*same, *jobs([other])])) == [1, 5]
    assert len(group([*same, *(Job(make_config("sampler=dns"), []) for _ in range(2))])) == 2


def test_shares_for_several_devices_are_about_equal_and_longest_first():
    jobs = [
        Job(make_config("sampler=dns", f"sampler.M={M}", f"seed={k}"), [])
        for M in (2, 8)
        for k in range(8)
    ]
    parts = shares(group(jobs), 4)
    assert sorted(
        job.config["seed"] + job.config["sampler"]["M"] * 100 for part in parts for job in part
    ) == sorted(job.config["seed"] + job.config["sampler"]["M"] * 100 for job in jobs)
    assert len(parts) >= 4 and len(parts[0]) <= 5


def test_a_failing_trial_leaves_its_pack_and_is_reported(tmp_path, capsys):
    returns, jobs = sweep(tmp_path, [[], ["trainer.lr=1e38"], []])
    assert [r.status for r in returns] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]
    assert "the loss is" in jobs[1].folder.read_status()["reason"]
    printed = capsys.readouterr().out
    assert "1 of 3 jobs are not done" in printed and "trainer.lr=1e38" in printed
    with pytest.raises(Exception, match="the loss is"):
        _ = returns[1].return_value
    _, alone = sweep(tmp_path / "alone", [[], [], []])
    assert_equal([jobs[0], jobs[2]], [alone[0], alone[2]])


def test_a_pack_killed_between_its_last_epoch_and_its_results_has_them_when_it_goes_on(
    three, tmp_path, monkeypatch
):
    def killed(trial, split, device):
        raise KeyboardInterrupt

    monkeypatch.setattr("hapens_bench.launch.run.finish", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path / "killed", [[]] * 3)
    monkeypatch.undo()
    returns, jobs = sweep(tmp_path / "killed", [[]] * 3)
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 3
    assert_equal(jobs, three)


@pytest.mark.parametrize("after", [0, 5, 23])
def test_out_of_memory_halves_the_pack_and_loses_no_finished_epoch(
    tmp_path, monkeypatch, after, capsys
):
    _, whole = sweep(tmp_path / "whole", [[]] * 5)
    plain, steps = Pack.step, []

    def step(self, batch, positives):
        if self.size > 2 and len(steps) >= after:
            raise torch.OutOfMemoryError("no room")
        steps.append((self.size, int(batch.step)))
        return plain(self, batch, positives)

    monkeypatch.setattr(
        "hapens_bench.launch.packing.largest_pack", lambda config, wanted, device: wanted
    )
    monkeypatch.setattr(Pack, "step", step)
    returns, jobs = sweep(tmp_path / "tight", [[]] * 5)
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(jobs, whole)
    assert (
        "a pack of 5 trials broke (OutOfMemoryError: no room); going on with packs of 3"
        in capsys.readouterr().err
    )
    if after == 23:  # two epochs of eight steps were finished together: they are not trained again
        assert next(step for size, step in steps if size <= 2) == 16


def test_out_of_memory_when_a_pack_is_set_up_anew_goes_on_from_the_epoch_before(
    tmp_path, monkeypatch
):
    # the first fails in its first epoch, and the others are set up anew
    variants = [["trainer.lr=1e38"], [], []]
    _, whole = sweep(tmp_path / "whole", variants)
    plain, begun = EpochLoop.__init__, []

    def set_up(self, pack, *rest):
        begun.append(pack.size)
        if pack.size == 2:
            raise torch.OutOfMemoryError("no room")
        plain(self, pack, *rest)

    monkeypatch.setattr(
        "hapens_bench.launch.packing.largest_pack", lambda config, wanted, device: wanted
    )
    monkeypatch.setattr(EpochLoop, "__init__", set_up)
    returns, jobs = sweep(tmp_path / "tight", variants)
    assert begun[:3] == [3, 2, 1]
    assert [r.status == JobStatus.COMPLETED for r in returns] == [False, True, True]
    assert_equal(jobs[1:], whole[1:])


@pytest.mark.parametrize("full", [1, 2, 3, 100])  # writes that fail, before somebody makes room
@pytest.mark.parametrize("room", range(6, 42, 4))
def test_a_full_disk_costs_nothing_that_was_finished(three, tmp_path, monkeypatch, room, full):
    plain, writes = Files._write, itertools.count()

    def write(self, name, content):
        if room <= next(writes) < room + full:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(self, name, content)

    monkeypatch.setattr(Files, "_write", write)
    returns, _ = sweep(tmp_path / "full", [[]] * 3, "trainer.checkpoint_seconds=0")
    assert not all(r.status == JobStatus.COMPLETED for r in returns)
    monkeypatch.undo()
    returns, jobs = sweep(tmp_path / "full", [[]] * 3, "trainer.checkpoint_seconds=0")
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(jobs, three)


def test_an_error_in_a_pack_costs_only_the_trial_that_brings_it_about(tmp_path, monkeypatch):
    plain = Pack.__init__

    def build(self, configs, *rest):
        if any(config["seed"] == 3 for config in configs):
            raise ValueError("seed 3 is cursed")
        plain(self, configs, *rest)

    monkeypatch.setattr(
        "hapens_bench.launch.packing.largest_pack", lambda config, wanted, device: wanted
    )
    monkeypatch.setattr(Pack, "__init__", build)
    returns, jobs = sweep(tmp_path, [[]] * 6)
    assert [r.status == JobStatus.COMPLETED for r in returns] == [
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    assert jobs[3].folder.read_status()["reason"] == "ValueError: seed 3 is cursed"


def test_a_second_sweep_runs_only_what_is_missing_and_an_optimiser_can_ask_in_batches(
    tmp_path, capsys
):
    first, _ = sweep(tmp_path, [[], []])
    # the next batch of an ask/tell sweeper: two known, one new
    second, _ = sweep(tmp_path, [[], [], []])
    assert "3 jobs: 2 done, 1 to run" in capsys.readouterr().out
    values = [r.return_value for r in (*first, *second)]
    assert values[:2] == values[2:4] and all(isinstance(v, float) for v in values)


def test_an_optimiser_is_told_the_validation_metric_never_test(tmp_path):
    (one,), (job,) = sweep(tmp_path, [[]])
    history = job.folder.read_frame("history")
    assert one.return_value == history["valid/Recall@20"].max() != history["test/Recall@20"].max()
    (blind,), _ = sweep(tmp_path, [["protocol.selection=[test_peak]"]])
    assert blind.status == JobStatus.COMPLETED and blind.return_value is None


def test_the_same_trial_asked_for_twice_is_trained_once(tmp_path):
    base = [*SMALL, f"paths.runs={tmp_path / 'runs'}", f"paths.cache={tmp_path / 'cache'}"]
    returns = launch(
        [["seed=1"], ["seed=1"]],
        lambda these: OmegaConf.create(make_config(*base, *these)),
        on_devices(),
    )
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 2
    assert returns[0].return_value == returns[1].return_value


def test_trials_at_different_epochs_are_taken_up_where_they_are(three, tmp_path, monkeypatch):
    class Stop(BaseException):
        pass

    from hapens_bench.training.trial import Trial

    saved, count = Trial.save, iter(range(100))

    def save(self, state):
        saved(self, state)
        # the second checkpoint of the first trial: the others still have their first
        if next(count) == 3:
            raise Stop

    monkeypatch.setattr(Trial, "save", save)
    with pytest.raises(Stop):
        sweep(tmp_path / "cut", [[]] * 3, "trainer.checkpoint_seconds=0")
    monkeypatch.setattr(Trial, "save", saved)
    returns, again = sweep(tmp_path / "cut", [[]] * 3, "trainer.checkpoint_seconds=0")
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    assert_equal(again, three)


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


def test_a_step_goes_through_tables_gradients_and_moments_but_not_through_the_epochs_order():
    config, cpu = (
        make_config("dataset.users=4000", "dataset.items=500", "sampler=rns"),
        torch.device("cpu"),
    )
    split = pack_size.load_split(config)
    tables = 4 * (split.n_users + split.n_items) * config["model"]["D"]
    order = 16 * len(split.full_train)
    found = pack_size.step_bytes(config, split, cpu)
    assert 4 * tables <= found < 4 * tables + order, (found / tables, order / tables)


def test_a_dry_step_measures_memory_and_more_trials_take_more():
    config, cpu = (
        make_config("dataset.users=4000", "dataset.items=4000", "sampler=dns"),
        torch.device("cpu"),
    )
    split = pack_size.load_split(config)
    one, eight = (
        pack_size.peak_bytes(lambda T=T: pack_size.dry_step([config] * T, split, cpu), cpu)
        for T in (1, 8)
    )
    table = 4 * 64 * 8_000  # bytes of one trial's parameters, of which a step holds several
    assert eight - one > 7 * 3 * table
    assert pack_size.free_bytes(cpu) > 10 * 2**20


def test_several_devices_and_a_worker_that_is_killed(tmp_path):
    once = tmp_path / "killed"
    killer = [
        "+logger.killer._target_=tests.launch.killer.Killer",
        f"+logger.killer.once={once}",
        "+logger.killer.epoch=3",
        "+logger.killer.seed=2",
    ]
    variants = [
        ["sampler=rns"],
        ["sampler=rns"],
        ["sampler=dns"],
        ["sampler=dns", "trainer.batch_size=64"],
    ]
    options = {"devices": ["cpu", "cpu"], "max_trials": 2}
    returns, jobs = sweep(tmp_path, variants, *killer, "trainer.checkpoint_seconds=0", **options)
    assert once.exists()
    failed = [k for k, r in enumerate(returns) if r.status != JobStatus.COMPLETED]
    assert failed == [2] and "worker died (exit code -9)" in jobs[2].folder.read_status()["reason"]
    returns, jobs = sweep(tmp_path, variants, *killer, **options)
    assert all(r.status == JobStatus.COMPLETED for r in returns)
    _, alone = sweep(tmp_path / "alone", variants)
    assert_equal(jobs, alone)
    assert json.loads((jobs[0].folder.path / "status.json").read_text())["state"] == "done"


def test_nonsense_for_the_launcher_is_refused(tmp_path):
    with pytest.raises(UserError, match="max_trials is 0"):
        sweep(tmp_path, [[]], max_trials=0)
    with pytest.raises(UserError, match="it takes auto, cpu, cuda or cuda:N"):
        sweep(tmp_path, [[]], devices=["gpu7"])
