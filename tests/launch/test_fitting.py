"""Baselines without negatives from the command line to tables, and what is refused."""

import pytest
import torch
from omegaconf import OmegaConf

from hapens_bench.analysis.tables.definition import fill
from hapens_bench.cli.main import main
from hapens_bench.config.identity import run_id
from hapens_bench.errors import UserError
from hapens_bench.launch import memory
from hapens_bench.launch.devices import pick_device
from hapens_bench.launch.job import Job, load_split
from hapens_bench.launch.packing import group
from hapens_bench.launch.sweep import devices_of, launch, on_devices
from hapens_bench.launch.validate import check
from hapens_bench.runs.ledger import load
from hapens_bench.tune.plan import make_plan
from tests.conftest import make_config
from tests.launch.sweeps import outcome

MODELS = ("popularity", "itemknn", "ease", "ials")


def own(model):
    """Return the overrides of a small trial of a model."""
    data = ["dataset.users=80", "dataset.items=400"]
    more = {
        "mf": ["trainer.epochs=3", "trainer.batch_size=128", "sampler=dns"],
        "ials": ["model.D=8", "trainer.epochs=3"],
    }
    return [*data, *more.get(model, []), f"model={model}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A sweep of the four models, beside MF with DNS."""
    root = tmp_path_factory.mktemp("made")
    return root, sweep(root)


def sweep(root):
    places = [f"paths.runs={root / 'runs'}", f"paths.cache={root / 'cache'}"]

    def compose(these):
        return OmegaConf.create(make_config(*places, *these))

    variants = [[*own(model), f"seed={seed}"] for model in (*MODELS, "mf") for seed in (0, 1)]
    returns = launch(variants, compose, on_devices())
    assert all(not isinstance(r._return_value, Exception) for r in returns)
    return [Job(make_config(*places, *r.overrides), r.overrides) for r in returns]


def test_a_sweep_leaves_ordinary_runs(made, capsys):
    root, jobs = made
    for job in jobs:
        summary = job.folder.read_summary()
        assert summary["train_seconds"] > 0 and summary["validation"] > 0
        assert set(summary["selection"]) == {"valid", "valid_refit", "test_peak"}
        assert len(job.folder.read_frame("users")) and len(job.folder.read_frame("ranks"))
    sweep(root)
    assert "10 jobs: 10 done, 0 to run" in capsys.readouterr().out


def test_seeds_of_a_closed_form_have_the_same_numbers(made):
    _, jobs = made
    for job, twin in zip(jobs[::2], jobs[1::2], strict=True):
        assert run_id(job.config) != run_id(twin.config)
        same = outcome(job)[0] == outcome(twin)[0]
        assert same == (job.config["model"]["name"] in ("popularity", "itemknn", "ease"))


def test_runs_are_listed_reported_and_archived(made, tmp_path, capsys):
    root, _ = made
    runs = ["--runs", str(root / "runs")]
    assert main(["runs", "list", *runs]) == 0
    listed = capsys.readouterr().out
    assert all(model in listed for model in MODELS)
    assert main(["report", *runs, "--out", str(tmp_path / "report.html")]) == 0
    assert "ease" in (tmp_path / "report.html").read_text()
    archive = str(tmp_path / "archive")
    assert main(["archive", "add", archive, *runs]) == 0
    assert main(["archive", "list", archive]) == 0
    assert "10 runs" in capsys.readouterr().out
    assert main(["archive", "verify", archive]) == 0
    assert "10 runs: every metric computed again from ranks; 0 faults" in capsys.readouterr().out


def test_tables_have_rows_for_them(made, tmp_path, capsys):
    root, _ = made
    folders = ["--runs", str(root / "runs"), "--out", str(tmp_path)]
    where = ["--where", "sampler=none", "--metrics", "Recall@20"]
    assert main(["table", "--rows", "model", *where, *folders]) == 0
    shown = capsys.readouterr().out
    assert all(model in shown for model in MODELS) and " mf " not in shown
    data = ["dataset.users=80", "dataset.items=400"]
    rows = {"ease": ["model=ease"], "dns": ["sampler=dns", "trainer.epochs=3"]}
    definition = {"datasets": ["planted"], "samplers": rows, "overrides": data}
    definition["samplers"]["dns"].append("trainer.batch_size=128")
    ease, dns = fill(definition, load(root / "runs", None).runs)
    assert len(ease.runs) == len(dns.runs) == 2
    one, twin = (run["selection"]["valid_refit"]["test"] for run in ease.runs)
    assert one == twin


def test_a_run_without_vectors_recommends_nothing(made, capsys):
    root, jobs = made
    name = jobs[4].folder.path.name
    words = ["recommend", name, "--runs", str(root / "runs"), "--user", "1"]
    assert main(words) == 2
    assert "is of model=ease, which keeps no vectors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["model=ease", "sampler=dns"],
            "model=ease is fitted without negatives; leave out sampler=dns",
        ),
        (["model=ials", "sampler=enmf"], "leave out sampler=enmf"),
        (["model=ease", "loss=bpr"], "model=ease is fitted without a loss; leave out loss=bpr"),
        (
            ["sampler=none"],
            "model=mf is trained on negatives, so it cannot have sampler=none; take",
        ),
        (["sampler=none", "loss=none"], "cannot have sampler=none and loss=none"),
        (["loss=none"], "model=mf is trained on negatives, so it cannot have loss=none"),
        (["trainer=fitted"], "trainer.batch_size is missing"),
        (["model=ease", "trainer=default"], "trainer=default is not for it; take trainer=fitted"),
        (["model=ials", "trainer=default"], "trainer=default is not for it; take trainer=ials"),
        (["model=ease", "+trainer.l2=0.1"], "there is no key trainer.l2; trainer takes"),
        (
            ["model=ease", "trainer.epochs=3"],
            "trainer.epochs is 3, but model=ease is fitted in one",
        ),
        (["model=itemknn", "trainer.patience=3"], "trainer.patience is 3, but model=itemknn"),
        (["model=ease", "trainer=ials"], "trainer.epochs is 16, but model=ease is fitted in one"),
        (
            ["model=ease", "trainer.device=cuda"],
            "trainer.device is 'cuda', but it takes one of cpu",
        ),
        (["model=ials", "protocol.negatives=exclude_held_out"], "but model=ials has no negatives"),
        (["model=ease", "model.lam=0"], "model.lam is 0, but it takes a number above 0"),
        (["model=itemknn", "model.k=2.5"], "model.k is 2.5, but it takes a whole number"),
        (
            ["model=itemknn", "model.shrink=-1"],
            "model.shrink is -1, but it takes a number at least 0",
        ),
        (["model=ials", "model.alpha0=0"], "model.alpha0 is 0, but it takes a number above 0"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(overrides, said):
    with pytest.raises(UserError) as error:
        check(make_config(*overrides))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "overrides", [["model=ease", "sampler=dns"], ["model=ease", "trainer.lr=1"]]
)
def test_the_command_line_ends_with_2_before_training(overrides, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["train", *overrides, f"paths.runs={tmp_path}"]))
    assert ended.value.code == 2 and not list(tmp_path.rglob("config.yaml"))
    assert capsys.readouterr().err.startswith("error: ")


def test_a_fit_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    config = make_config("model=ease", f"paths.cache={tmp_path}")
    split = load_split(config)
    memory.check_memory(config, split, pick_device("cpu"))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10 * 2**20)
    with pytest.raises(
        UserError, match=r"^model=ease takes 0\.0 GiB or more for 1000 users, .* free"
    ):
        memory.check_memory(config, split, pick_device("cpu"))


def test_they_share_no_pack_and_do_not_keep_others_from_a_gpu(monkeypatch):
    jobs = [Job(make_config(*own(m), f"seed={s}"), []) for m in ("ease", "mf") for s in (0, 1)]
    assert [len(members) for members in group(jobs)] == [1, 1, 2]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_of(jobs, None) == ["cuda:0", "cuda:1"]
    assert devices_of(jobs[:2], None) == ["cpu"]


def test_a_search_compares_models_where_there_is_no_sampler():
    plan = make_plan("baselines", ["dataset=tools", "tune.n_trials=2"])
    assert [study.sampler for study in plan.studies] == ["itemknn", "ease", "ials"]
    assert [list(study.space) for study in plan.studies][1] == ["model.lam"]
    with pytest.raises(UserError, match="model lists several values, but only dataset and sampler"):
        make_plan("ahns", ["dataset=tools", "model=mf,gmf"])
