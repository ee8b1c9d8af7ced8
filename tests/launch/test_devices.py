"""Which device a process trains on, its name, and what fits into its memory."""

import json

import pytest
import torch
from hydra.core.utils import JobStatus

from hapens_bench.errors import UserError
from hapens_bench.kernels import cpu
from hapens_bench.launch import devices, memory, pack_size
from hapens_bench.launch.results import uncaptured
from hapens_bench.training.epoch import EpochLoop
from hapens_bench.training.pack import Pack
from tests.conftest import make_config
from tests.launch.sweeps import sweep


@pytest.fixture
def two_gpus(monkeypatch):
    """Pretend to have two CUDA devices; return the calls that the launcher makes of them."""
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3 * 2**20)
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: calls.append(("reset", device))
    )
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(("set", device)))
    monkeypatch.setattr(torch, "set_num_threads", lambda n: calls.append(("threads", n)))
    monkeypatch.setattr(cpu, "prepare", lambda: calls.append("numba"))
    return calls


@pytest.mark.parametrize(("name", "index"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_a_cuda_device_has_its_number_and_becomes_the_current_one_without_numba(
    two_gpus, name, index
):
    device = devices.pick_device(name)
    assert device == torch.device("cuda", index)
    devices.activate(device, threads=3)
    assert two_gpus == [("set", device), ("reset", device), ("threads", 3)]
    assert devices.device_name(device) == f"GPU {index}"
    assert devices.peak_memory(device)["peak_device_memory_mb"] == 3


def test_a_device_that_is_not_there_is_refused(two_gpus):
    with pytest.raises(
        UserError, match="'cuda:2', but this machine has the CPU and 2 CUDA devices"
    ):
        devices.pick_device("cuda:2")


def test_a_cpu_is_named_and_its_loops_are_made_ready(two_gpus):
    device = torch.device("cpu")
    devices.activate(device, threads=1)
    assert "numba" in two_gpus and all(call[0] != "set" for call in two_gpus)
    assert devices.device_name(device)
    peak = devices.peak_memory(device)
    assert peak["peak_memory_mb"] > 10 and peak["peak_device_memory_mb"] is None


def test_summary_json_names_the_device_and_its_memory(tmp_path):
    _, (job,) = sweep(tmp_path, [["sampler=rns"]])
    summary = job.folder.read_summary()
    assert summary["device"] == devices.device_name(torch.device("cpu"))
    assert summary["peak_memory_mb"] > 10 and summary["peak_device_memory_mb"] is None
    assert summary["uncaptured"] is None


def test_summary_and_table_report_an_uncaptured_training(tmp_path, monkeypatch, capsys):
    init, reason = EpochLoop.__init__, "samplers/x.py:3, `y`: RuntimeError: [no]"

    def without_graph(self, *args):
        init(self, *args)
        self.uncaptured = reason

    monkeypatch.setattr(EpochLoop, "__init__", without_graph)
    _, jobs = sweep(tmp_path, [["sampler=rns"], ["sampler=rns"]])
    summaries = [job.folder.read_summary() for job in jobs]
    assert [summary["uncaptured"] for summary in summaries] == [reason] * 2
    line = f"2 runs of rns were not captured on a GPU, so they took longer: {reason}"
    assert uncaptured(summaries) == [line]
    assert line in " ".join(capsys.readouterr().out.split())


def test_a_first_step_that_fails_costs_its_own_trials_only(tmp_path, monkeypatch, caplog):
    plain = Pack.step

    def step(self, batch, positives):
        if type(self.sampler).__name__ == "GDNS":
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes"
            )
        return plain(self, batch, positives)

    monkeypatch.setattr(Pack, "step", step)
    monkeypatch.setattr(pack_size, "cache_bytes", lambda: 10**9)
    gdns = ["sampler=gdns", "sampler.M=64", "trainer.batch_size=32"]
    returns, jobs = sweep(tmp_path, [gdns, gdns, ["sampler=rns"], ["sampler=rns"]])
    assert [r.status == JobStatus.COMPLETED for r in returns] == [False, False, True, True]
    assert "trials are trained one by one: a first step of them failed (RuntimeError" in caplog.text
    for job in jobs[:2]:
        status = json.loads((job.folder.path / "status.json").read_text())
        assert status["state"] == "failed" and "can't allocate memory" in status["reason"]


@pytest.mark.parametrize("sampler", ["gdns", "divns"])
def test_tables_of_a_sampler_count_before_anything_is_trained(monkeypatch, sampler):
    config = make_config(
        "dataset.users=80",
        "dataset.items=300",
        f"sampler={sampler}",
        "trainer.batch_size=32",
        "tuned=none",
    )
    split = pack_size.load_split(config)
    tables = {
        "gdns": 2 * 2 * split.n_users * split.n_items,
        "divns": 4 * (4 + 2) * len(split.train),
    }
    needed = 3 * 4 * 64 * (split.n_users + split.n_items) + 2 * tables[sampler]
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        if fits:
            memory.check_memory(config, split, torch.device("cpu"))
        else:
            with pytest.raises(
                UserError, match=rf"GiB for sampler={sampler} for 80 users.* or another sampler"
            ):
                memory.check_memory(config, split, torch.device("cpu"))


def test_free_memory_is_read_after_the_cache_is_emptied_and_graphs_count(monkeypatch):
    config, cuda, calls = make_config("sampler=dns"), torch.device("cuda", 0), []
    reserved = {"now": 0, "peak": 0}
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda device: (calls.append("free"), (1000, 2000))[1]
    )
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: reserved.update(peak=reserved["now"])
    )
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: reserved["peak"])
    monkeypatch.setattr(
        pack_size,
        "dry_step",
        lambda configs, split, device: reserved.update(peak=100 * len(configs)),
    )
    assert pack_size.largest_pack(config, 64, cuda) == 1 + int((0.85 * 1000 - 100) // 100)
    assert calls[:2] == ["empty", "free"]
