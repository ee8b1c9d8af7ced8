"""Every sampler, loss and model, captured on an emulated CUDA device.

No step syncs with the host or mixes devices, and the bits are equal. A case trains two epochs,
drops a trial, rebuilds the loop and trains a third; the plain torch path on the CPU must have the
same history and the same parameters.
"""

import itertools

import pytest
import torch

from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.job import load_split
from hapens_bench.training.stage import Stage, ranking
from tests.conftest import make_config
from tests.models.cases import CASES as MODELS
from tests.samplers.cases import CASES as SAMPLERS
from tests.training.emulated import installed, record
from tests.training.emulated_tensor import DEVICE, OnDevice, Violation

SMALL = [
    "dataset.users=40",
    "dataset.items=300",
    "trainer.batch_size=64",  # 8 steps an epoch
    "trainer.lr=0.01",
    "trainer.epochs=4",
    "model.D=8",
    "tuned=none",
]
SCRATCH = {name: ["sampler.start=scratch"] for name in ("irgan", "rns_as", "advir")} | {
    "hapens": ["sampler.M=4"],
    "sl_at_k": ["loss.every=1", "loss.N=20", "sampler.K=8"],
    **{name: ["sampler.K=8"] for name in ("sl", "bsl", "psl", "ccl", "adv_infonce")},
}
READINGS = {  # overrides that change the code of a step
    "rns": [
        ["trainer.optimizer=adagrad"],
        ["trainer.weight_decay=0.01"],
        ["trainer.optimizer=adagrad", "trainer.weight_decay=0.01"],
        ["trainer.reduction=sum"],
        ["trainer.drop_last=false"],
        ["trainer.bitmap_mb=0"],
    ],
    "pns": [["trainer.bitmap_mb=0"]],
    "bns": [["sampler.S=20"]],
    "ssm": [["model.similarity=cosine"], ["sampler.shared=true"]],
    "dns_mn": [["sampler.N=8"]],
    "softmax": [["loss=bpr_sum"]],
    "gdns": [
        ["sampler.reading=b"],
        ["sampler.reading=c"],
        ["sampler.select=hardness"],
        ["loss.pairs=matched"],
    ],
    "srns": [["sampler.memory=persistent"]],
    "aobpr": [["sampler.spread=variance"], ["trainer.bitmap_mb=0"]],
    "in_batch": [["sampler.logq=false"], ["loss=bpr_sum"]],
    "mixed": [["sampler.K=9"], ["trainer.bitmap_mb=0"]],
    "dens": [["sampler.warmup=3"]],
    "divns": [["sampler.select=greedy"], ["trainer.drop_last=false"]],
    "psl": [["loss.activation=atan"], ["loss.activation=relu"]],
    "adv_infonce": [["sampler.every=2", "model.similarity=cosine"]],
    "var_bpr": [["loss.form=exact", "loss.pos_rarity=0.5"], ["sampler.M=1"]],
    "worst_case": [["loss.maximum=exact"]],
    "irgan_minimax": [["sampler.pretrain=0"], ["sampler.pretrain=1"]],
}
LOSSES = sorted(path.stem for path in (conf_dir() / "loss").glob("*.yaml"))


def own_loss(sampler):
    return make_config(f"sampler={sampler}", "tuned=none")["loss"]["name"]


def cases():
    """Yield the overrides of each case.

    These are every sampler on MF with its readings, every model of the contract with DNS, and every
    loss that DNS or ENMF may have.
    """
    for name in sorted(SAMPLERS):
        for how in ([], *READINGS.get(name, [])):
            yield [f"sampler={name}", *SCRATCH.get(name, []), *how]
    for model, _, keys in MODELS.values():
        how = [
            f"model.{key}={value[0] if isinstance(value, list) else value}"
            for key, value in keys.items()
        ]
        yield ["sampler=dns", f"model={model}", *how]
    used = {own_loss(name) for name in SAMPLERS}
    for loss in sorted(set(LOSSES) - used - {"none"}):
        yield ["sampler=rns", f"loss={loss}"]


def products():
    """Yield every sampler with every other model, dropout on."""
    models = {
        "gmf": ["model.user_dropout=0.1"],
        "lightgcn": ["model.message_dropout=0.2", "model.node_dropout=0.2"],
        "ngcf": ["model.variant=authors", "model.message_dropout=0.2"],
    }
    for name, (model, how) in itertools.product(sorted(SAMPLERS), models.items()):
        yield [f"sampler={name}", *SCRATCH.get(name, []), f"model={model}", *how]


def train(configs, split, device):
    """Train and rank; return the pack, the loop, the history and the metrics."""
    stage = Stage("held", configs[0], split, device)
    pack = stage.pack(configs)
    loop = stage.loop(pack)
    assert loop.uncaptured is None, loop.uncaptured
    rows = [loop.run(epoch) for epoch in range(2)]
    pack.keep([0, 2])
    loop = stage.loop(pack)
    rows.append(loop.run(2))
    encoded = pack.model.encode().detach()
    results = ranking(configs[0], split, device).evaluate(encoded.queries, encoded.items)
    return pack, loop, rows, [result.mean() for result in results]


def check(overrides, tmp_path):
    base = [*SMALL, f"paths.cache={tmp_path}", *overrides]
    configs = [make_config(*base, f"seed={t}") for t in range(3)]
    split = load_split(configs[0])
    with installed():
        theirs, loop, captured, ranked = train(configs, split, DEVICE)
    assert loop.graph is not None and len(loop.graph.calls) > 100
    plain = [{**c, "trainer": {**c["trainer"], "engine": "reference"}} for c in configs]
    mine, _, rows, expected = train(plain, split, torch.device("cpu"))
    assert str(captured) == str(rows) and ranked == expected  # text: nan is equal to itself
    for name, p in mine.parameters().items():
        assert torch.equal(p, theirs.parameters()[name].inner), name


@pytest.mark.parametrize("overrides", list(cases()), ids=" ".join)
def test_a_captured_step_is_the_plain_one(overrides, tmp_path):
    check(overrides, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", list(products()), ids=" ".join)
def test_every_sampler_is_captured_with_every_model(overrides, tmp_path):
    check(overrides, tmp_path)


def test_the_emulated_device_catches_what_cuda_refuses():
    with installed():
        x = torch.ones(3).to(DEVICE)
        assert isinstance(x, OnDevice)
        with pytest.raises(Violation, match="mixed"):
            x + torch.ones(3)
        with pytest.raises(Violation, match=r"\.numpy"):
            x.numpy()
        for syncing in (
            lambda: float(x.sum()),
            lambda: x[x > 0],
            lambda: x.nonzero(),
            lambda: x.cpu(),
            lambda: torch.tensor([1.0]).to(DEVICE),
            lambda: x.tolist(),
        ):
            with pytest.raises(Violation, match="waits for the device"):
                record(syncing, DEVICE)
            syncing()  # outside a recording, it only waits

        counter, total, n = torch.zeros(()).to(DEVICE), torch.zeros(()).to(DEVICE), 2

        def step():
            counter.add_(1)
            total.add_(counter * n)

        tape = record(step, DEVICE)
        n = 100  # the recording has baked in 2: a replay does not see this
        tape.replay()
        assert (float(counter), float(total)) == (2, 6)


def test_a_tensor_that_only_the_recording_reads_is_found():
    """Seen on a GPU: the places of a batch, made outside the step, were freed before a replay."""
    total = OnDevice(torch.zeros(3))
    outside = [OnDevice(torch.arange(3.0))]
    with installed():
        tape = record(lambda: total.add_(outside[0]), DEVICE)
        tape.replay()
        outside.clear()
        with pytest.raises(Violation, match=r"reads a tensor \[3\] that was freed"):
            tape.replay()
