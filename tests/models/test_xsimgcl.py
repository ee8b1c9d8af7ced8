"""XSimGCL's contrast against a slow formula, node by node; its vectors are in the contract."""

import math

import pytest
import torch

from hapens_bench.errors import UserError
from hapens_bench.kernels import Engine
from hapens_bench.launch.validate import check
from hapens_bench.models.contrast import first_places
from hapens_bench.models.graph import Graph
from hapens_bench.training.build import build
from tests.conftest import make_config
from tests.models.cases import Toy, xsimgcl
from tests.models.test_contract import PAIRS, SEEDS, STEP, D, I, T, U, noise
from tests.training.test_graph_models import same_alone_and_packed
from tests.training.test_trainer import train

LAYERS = 2
USERS = torch.tensor([[0, 3, 3, 8, 0], [1, 2, 3, 4, 5], [6, 6, 6, 6, 6]])
ITEMS = torch.tensor([[2, 2, 2, 9, 1], [0, 1, 2, 3, 4], [5, 5, 5, 6, 5]])
OWN = {"eps": (0.1, 0.3, 0.0), "lam": (0.2, 1.0, 0.5), "tau": (0.1, 0.2, 1.0)}


def sections(*overrides):
    common = ["model=xsimgcl", f"model.D={D}", f"model.L={LAYERS}", *overrides]
    values = [[f"model.{key}={value[t]}" for key, value in OWN.items()] for t in range(T)]
    return [make_config(*common, *own)["model"] for own in values]


def contrast(configs, engine, trials=slice(None)):
    """Return the extra loss [T] of a training step, and the gradients of the tables."""
    graph = Graph(PAIRS, U, I, engine=engine)
    model = build(configs[trials], seeds=SEEDS[trials], n_users=U, n_items=I, graph=graph)
    model.engine = engine
    extra = model.extra(model.encode(noise(trials)), USERS[trials], ITEMS[trials])
    extra.sum().backward()
    own = {name: p.detach() for name, p in model.named_parameters()}
    return extra.detach(), own, {name: p.grad for name, p in model.named_parameters()}


def slow_info_nce(z, other, tau):
    total = 0
    for b, x in enumerate(z):
        s = [x @ y / (x.norm() * y.norm() * tau) for y in other]
        total = total - (s[b] - torch.log(sum(torch.exp(v) for v in s)))
    return total / len(z)


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize(
    "how",
    [
        [],
        ["model.contrast=rows", "model.noise=normal"],
        ["model.contrast_layer=2", "model.similarity=cosine"],
        ["model.contrast_layer=0"],
    ],
    ids=" ".join,
)
def test_the_contrast_and_its_gradient_equal_the_slow_formula(how, engine):
    configs = sections(*how)
    extra, parameters, gradients = contrast(configs, engine)
    for t, keys in enumerate(configs):
        own = {name: p[t].double().requires_grad_() for name, p in parameters.items()}
        pooled, layers = xsimgcl(Toy(own, PAIRS, U, I, keys, SEEDS[t], STEP))
        layer, total = layers[keys["contrast_layer"]], 0
        for nodes in (USERS[t].tolist(), [U + i for i in ITEMS[t].tolist()]):
            batch = sorted(set(nodes)) if keys["contrast"] == "nodes" else nodes
            total = total + slow_info_nce(pooled[batch], layer[batch], keys["tau"])
        expected = keys["lam"] * total
        assert extra[t].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
        for name, slow in zip(own, torch.autograd.grad(expected, [*own.values()]), strict=True):
            assert torch.allclose(gradients[name][t].double(), slow, rtol=1e-3, atol=2e-5), name


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize("how", [[], ["model.contrast=rows", "model.noise=normal"]], ids=" ".join)
def test_the_contrast_of_a_trial_has_the_same_bits_alone_as_in_a_pack(how, engine):
    extra, _, gradients = contrast(sections(*how), engine)
    for t in range(T):
        trial = slice(t, t + 1)
        alone, _, own = contrast(sections(*how), engine, trial)
        assert torch.equal(alone, extra[trial])
        assert all(torch.equal(own[name], gradients[name][trial]) for name in own)


def test_a_node_counts_at_its_first_place_only():
    marked = first_places(USERS, U)
    assert marked.tolist() == [
        [True, True, False, True, False],
        [True] * 5,
        [True, False, False, False, False],
    ]


def test_a_contrast_with_a_layer_that_is_not_there_is_refused():
    check(make_config("model=xsimgcl", "model.L=1"))
    with pytest.raises(UserError, match=r"model\.contrast_layer is 3, .* at most model\.L=2"):
        check(make_config("model=xsimgcl", "model.contrast_layer=3"))


SHORT = ["dataset.users=50", "trainer.epochs=3", "model=xsimgcl", "model.D=16", "tuned=none"]
VARIANTS = [
    ["seed=1"],
    ["seed=2", "trainer.lr=0.02", "model.lam=0.05", "model.eps=0.1", "model.tau=0.3"],
    ["seed=3", "model.lam=0"],
]


@pytest.mark.parametrize("sampler", ["rns", "mixgcf", "directau", "enmf"])
def test_it_trains_the_same_alone_and_in_a_pack_with_any_sampler(tmp_path, sampler):
    how = [*SHORT, f"sampler={sampler}", "trainer.epochs=2"]
    packed = same_alone_and_packed(tmp_path, VARIANTS, *how)
    assert all(math.isfinite(row["train/loss"]) for t in packed for row in t.progress.rows)


def test_the_contrast_is_in_the_loss_of_every_epoch(tmp_path):
    without, with_it = train(tmp_path, [["model.lam=0"], ["model.lam=1"]], *SHORT)
    for mine, theirs in zip(without.progress.rows, with_it.progress.rows, strict=True):
        assert theirs["train/loss"] > mine["train/loss"] + 0.5
