"""The keys in which the jobs of a sweep differ, its id, and the names that come of them."""

import pytest

from hapens_bench.config.identity import run_id
from hapens_bench.launch.job import Job
from hapens_bench.launch.swept import enter_typed, mark
from hapens_bench.tracking.naming import run_name
from tests.conftest import make_config
from tests.launch.sweeps import sweep


def names(*variants):
    jobs = [Job(make_config(*these), list(these)) for these in variants]
    before = [run_id(job.config) for job in jobs]
    mark(jobs)
    assert [run_id(job.config) for job in jobs] == before
    assert len({job.config["sweep"]["id"] for job in jobs}) == 1
    return [run_name(job.config) for job in jobs]


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ([["seed=0"], ["seed=1"]], ["planted-mf-rns-s0", "planted-mf-rns-s1"]),
        (
            [["sampler=rns"], ["sampler=dns", "sampler.M=4"], ["sampler=dns", "sampler.M=8"]],
            ["planted-mf-rns-s0", "planted-mf-dns-M4-s0", "planted-mf-dns-M8-s0"],
        ),
        (
            [["trainer.lr=0.01", "model=mf"], ["trainer.lr=0.1", "model=lightgcn"]],
            ["planted-mf-rns-s0", "planted-lightgcn-rns-s0"],
        ),
        (
            [["loss=bpr"], ["loss=hinge", "loss.gamma=1"], ["loss=hinge", "loss.gamma=2"]],
            ["planted-mf-rns-bpr-s0", "planted-mf-rns-hinge-gamma1-s0"],
        ),
        ([["protocol=ahns"], ["protocol=clean"]], ["planted-mf-rns-ahns-s0"]),
        ([["trainer.threads=1"], ["trainer.threads=2"]], ["planted-mf-rns-s0"] * 2),
    ],
)
def test_names_have_the_keys_in_which_runs_of_one_sampler_differ(variants, expected):
    assert names(*variants)[: len(expected)] == expected


def test_a_section_that_only_some_jobs_have_tells_them_apart():
    found = names([], ["+protocol.noise={kind:flip,share:0.1}"])
    assert found[0] != found[1]


def test_the_same_jobs_have_the_same_id_in_whatever_order():
    found = []
    for seeds in ([0, 1], [1, 0], [0, 1, 2]):
        jobs = [Job(make_config(f"seed={seed}"), []) for seed in seeds]
        mark(jobs)
        found.append(jobs[0].config["sweep"]["id"])
    assert found[0] == found[1] != found[2]


def test_a_single_run_is_named_by_what_was_typed():
    typed = ["sampler=dns", "sampler.M=8", "trainer.lr=0.01", "trainer.threads=1", "seed=3"]
    job = Job(make_config(*typed), typed)
    enter_typed(job)
    assert run_name(job.config) == "planted-mf-dns-M8-lr0.01-s3"
    assert job.config["sweep"]["id"] is None


def test_what_jobs_need_first_belongs_to_their_sweep():
    needing = ["sampler=hapens", "sampler.M_max=8", "sampler.M=null", "tuned=none"]
    jobs = [Job(make_config(*needing, f"seed={seed}"), []) for seed in (0, 1)]
    mark(jobs)
    assert {job.prerequisite.config["sweep"]["id"] for job in jobs} == {
        jobs[0].config["sweep"]["id"]
    }
    assert run_name(jobs[1].prerequisite.config) == "planted-mf-worst_case-s1"


def test_the_run_folder_keeps_what_a_name_needs(tmp_path):
    _, jobs = sweep(tmp_path, [["sampler=dns", "sampler.M=2"], ["sampler=dns", "sampler.M=4"]])
    kept = [job.folder.read_config() for job in jobs]
    assert [run_name(config) for config in kept] == ["planted-mf-dns-M2-s0", "planted-mf-dns-M4-s1"]
