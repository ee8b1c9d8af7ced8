"""The samplers that look at layers, on models that have them.

Slow versions of their rules, positive by positive, in float64.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.models.graph import Graph
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.build import build, build_sampler
from tests.conftest import make_config

T, U, I, D, B, M, L = 2, 25, 30, 8, 64, 6, 2
SEEDS, STEP = [1, 2], 5
KEYS = {
    "mixgcf": [],
    "dins": ["sampler.a=1.5"],
    "dens": ["sampler.gamma=0.3", "sampler.alpha=0.4"],
    "ans": ["sampler.gamma=0.4", "sampler.eps=0.3"],
    "dcans": ["sampler.W=3", "sampler.alpha=0.8"],
    "stabcf": ["sampler.W=3", "sampler.alpha=0.8"],
}


@dataclass
class Look:
    """One positive of one trial: user, positive and candidates in each layer.

    `concat` is how the layers are pooled.
    """

    t: int
    b: int
    users: list[Tensor]  # of each layer
    items: list[Tensor]
    candidates: list[list[Tensor]]
    concat: bool
    sampler: torch.nn.Module
    keys: dict
    rng: Streams
    tables: list[Tensor]  # of all items, in each layer
    known: list[int]  # the user's train items

    def pool(self, layers: list[Tensor]) -> Tensor:
        return torch.cat(layers) if self.concat else sum(layers) / len(layers)

    def judge(self, l: int) -> Tensor:
        """Return the user vector that MixGCF and DINS score layer l's candidates against."""
        return self.users[l] if self.concat else self.pool(self.users)

    def linear(self, gate: str, x: Tensor) -> Tensor:
        module = getattr(self.sampler, gate)
        return (
            module.weight[self.t].detach().double() @ x + module.bias[self.t, 0].detach().double()
        )


def best(values: list[float]) -> int:
    return max(range(len(values)), key=lambda m: values[m])


def mixgcf(look: Look):
    a = look.rng.uniform(STEP * B * (L + 1), B, L + 1)[look.t, look.b].double()
    picks, layers = [], []
    for l, candidates in enumerate(look.candidates):
        mixed = [a[l] * look.items[l] + (1 - a[l]) * e for e in candidates]
        picks.append(best([float(look.judge(l) @ e) for e in mixed]))
        layers.append(mixed[picks[-1]])
    return picks, layers, None


def dins(look: Look):
    picks, layers = [], []
    for l, candidates in enumerate(look.candidates):
        picks.append(best([float(look.judge(l) @ e) for e in candidates]))
        u, i, j = look.users[l], look.items[l], candidates[picks[-1]]
        n = (u * j).exp() / ((u * j).exp() + look.keys["a"] * (u * i).exp())
        layers.append((1 - n) * i + n * j)
    return picks, layers, None


def dens(look: Look):
    picks, layers, parts = [], [], {"p_r": [], "p_ir": [], "n_r": [], "n_ir": []}
    for l, candidates in enumerate(look.candidates):
        u, i = look.users[l], look.items[l]
        gated = i * torch.sigmoid(look.linear("A_i", i) + look.linear("A_u", u))
        relevant = [
            e * torch.sigmoid(look.linear("B_n", e) + look.linear("B_p", gated)) for e in candidates
        ]
        c = 1 - look.keys["alpha"]
        pick = best([float(u @ (c * e - r)) for e, r in zip(candidates, relevant, strict=True)])
        picks.append(pick)
        layers.append(candidates[pick])
        factors = (gated, i - gated, relevant[pick], candidates[pick] - relevant[pick])
        for name, value in zip(parts, factors, strict=True):
            parts[name].append(value)
    query = look.pool(look.users)
    p_r, p_ir, n_r, n_ir = (float(query @ look.pool(parts[name])) for name in parts)
    gaps = (p_ir - p_r, n_r - n_ir, n_r - p_r, p_ir - n_ir)
    return picks, layers, look.keys["gamma"] / 4 * sum(math.log1p(math.exp(gap)) for gap in gaps)


def ans(look: Look):
    picks, layers, extra = [], [], 0.0
    for l, candidates in enumerate(look.candidates):
        u, i = look.users[l], look.items[l]
        z = look.rng.uniform((STEP * (L + 1) + l) * B * M * D, B, M, D)[look.t, look.b].double()
        values, augmented, contrast = [], [], 0.0
        for m, e in enumerate(candidates):
            g = torch.sigmoid(look.linear("A", e) * look.linear("C", u))
            hard, p_hard = e * g, i * g
            easy, p_easy = e - hard, i - p_hard
            margin = torch.sigmoid(1 / look.linear("W", hard * p_hard))
            augmented.append(e + margin * F.normalize(z[m], dim=0) * torch.sign(p_easy - easy))
            score = float(u @ augmented[m])
            values.append(score + look.keys["eps"] * (score - float(u @ e)))
            contrast += math.exp(float(u @ easy) - float(u @ hard))
            extra += float((hard - p_hard).norm() + (p_easy * easy).abs().sum()) / M
        extra += math.log1p(contrast)
        picks.append(best(values))
        layers.append(augmented[picks[-1]])
    return picks, layers, look.keys["gamma"] * extra / (L + 1)


def with_history(look: Look, n_hard: int):
    """Mix the positive with the history, then with `n_hard` candidates, as DCANS and StabCF do."""

    def mix(u: Tensor, own: Tensor, others: list[Tensor]) -> Tensor:
        vectors = [own, *others]
        w = [math.exp(float(u @ x)) for x in vectors]
        w[0] *= look.keys["alpha"]
        return sum(a / sum(w) * x for a, x in zip(w, vectors, strict=True))

    W, shift = look.keys["W"], 62 - I.bit_length()
    words = look.rng.bits(STEP * B * W, B, W)[look.t, look.b].tolist()
    history = [look.known[((w % 2**64) >> (64 - shift)) * len(look.known) >> shift] for w in words]
    picks, layers = [], []
    for l, candidates in enumerate(look.candidates):
        u = look.judge(l)
        positive = mix(u, look.items[l], [look.tables[l][h] for h in history])
        judges = [u, positive][:n_hard]
        hard = [best([float(judge @ e) for e in candidates]) for judge in judges]
        picks.append(hard[0])
        layers.append(mix(u, positive, [candidates[m] for m in hard]))
    return picks, layers, None


RULES = {
    "mixgcf": mixgcf,
    "dins": dins,
    "dens": dens,
    "ans": ans,
    "dcans": lambda look: with_history(look, 1),
    "stabcf": lambda look: with_history(look, 2),
}


@dataclass
class Scene:
    encoded: Encoded
    batch: Batch
    pool: Tensor
    sampler: torch.nn.Module
    section: dict
    positives: Positives


def make(sampler: str, model: str, engine: Engine, trials: slice = slice(None)) -> Scene:
    """Return a scene with a model that is not trained, but has large vectors.

    So picks differ from layer to layer.
    """
    pairs = np.argwhere(np.random.default_rng(0).random((U, I)) < 0.15).astype(np.int64)
    graph, positives = Graph(pairs, U, I, engine=engine), Positives(pairs, U, I, engine=engine)
    section = make_config(f"model={model}", f"model.D={D}", f"model.L={L}")["model"]
    network = build([section] * T, seeds=SEEDS, n_users=U, n_items=I, graph=graph)
    network.engine = engine
    with torch.no_grad():
        network.user *= 5
        network.item *= 5
    index = torch.randint(0, len(pairs), (T, B), generator=torch.Generator().manual_seed(4))
    chosen = torch.from_numpy(pairs)[index][trials]
    batch = Batch(
        chosen[..., 0], chosen[..., 1], epoch=torch.tensor(1), step=torch.tensor(STEP), epochs=4
    )
    config = make_config(f"sampler={sampler}", "tuned=none", f"sampler.M={M}", *KEYS[sampler])[
        "sampler"
    ]
    pool = draw_pool(positives, batch.users, M, Streams(SEEDS[trials], Purpose.POOL), 0)
    encoded = network.encode().detach()
    layers = tuple((users[trials], items[trials]) for users, items in encoded.layers)
    encoded = replace(
        encoded, users=encoded.users[trials], items=encoded.items[trials], layers=layers
    )
    built = build_sampler([config] * len(SEEDS[trials]), SEEDS[trials], D, U, I)
    built.observe(positives)
    return Scene(encoded, batch, pool, built, config, positives)


def draw(scene: Scene, trials: slice = slice(None)):
    return scene.sampler.draw(
        scene.batch, scene.encoded, scene.pool, Streams(SEEDS[trials], Purpose.SAMPLER)
    )


@pytest.mark.parametrize("engine", [Engine.PLAIN, Engine.NUMBA])
@pytest.mark.parametrize("model", ["lightgcn", "ngcf"])
@pytest.mark.parametrize("sampler", sorted(RULES))
def test_every_layer_follows_the_rule_and_may_choose_another_item(sampler, model, engine):
    scene = make(sampler, model, engine)
    drawn, encoded, batch = draw(scene), scene.encoded, scene.batch
    assert drawn.layers.shape == (T, B, 1, L + 1, D) and encoded.concat == (model == "ngcf")
    different = 0
    for t in range(T):
        extras = []
        for b in range(B):
            users = [layer[0][t, batch.users[t, b]].double() for layer in encoded.layers]
            items = [layer[1][t, batch.items[t, b]].double() for layer in encoded.layers]
            candidates = [
                [layer[1][t, j].double() for j in scene.pool[t, b]] for layer in encoded.layers
            ]
            rng = Streams(SEEDS, Purpose.SAMPLER)
            tables = [layer[1][t].double() for layer in encoded.layers]
            row = scene.positives.indptr[batch.users[t, b] :][:2].tolist()
            known = scene.positives.items[slice(*row)].tolist()
            judged = users, items, candidates, encoded.concat, scene.sampler, scene.section
            look = Look(t, b, *judged, rng, tables, known)
            picks, layers, extra = RULES[sampler](look)
            different += len(set(picks)) > 1
            assert torch.allclose(drawn.layers[t, b, 0].double(), torch.stack(layers), atol=1e-5)
            assert int(drawn.items[t, b, 0]) == int(scene.pool[t, b, picks[0]]), (
                "items are those of layer 0"
            )
            extras.append(extra)
        assert (drawn.extra is None) == (extras[0] is None)
        if drawn.extra is not None:
            assert float(drawn.extra[t].detach()) == pytest.approx(sum(extras) / B, rel=1e-4)
    assert different > B // 4, "the layers of this toy graph should disagree"


@pytest.mark.parametrize("model", ["lightgcn", "ngcf"])
@pytest.mark.parametrize("sampler", sorted(RULES))
def test_a_trial_draws_the_same_layers_alone_as_in_a_pack(sampler, model):
    packed = draw(make(sampler, model, Engine.NUMBA))
    for t in range(T):
        trial = slice(t, t + 1)
        alone = draw(make(sampler, model, Engine.NUMBA, trial), trial)
        assert torch.equal(alone.layers, packed.layers[trial]) and torch.equal(
            alone.items, packed.items[trial]
        )
        assert alone.extra is None or torch.equal(alone.extra, packed.extra[trial])


@pytest.mark.parametrize("model", ["lightgcn", "ngcf"])
def test_a_positive_may_be_replaced_in_the_loss_and_in_l2(model):
    scene = make("stabcf", model, Engine.NUMBA)
    drawn, encoded, batch = draw(scene), scene.encoded, scene.batch
    ego, replaced = Encoded(*encoded.layers[0]), drawn.positive_layers
    assert replaced.shape == (T, B, L + 1, D)
    both = batch.users, batch.items, drawn.layers, ego
    positive, negative, squares = encoded.synthesised(*both, replaced)
    _, unchanged, plain = encoded.synthesised(*both)
    assert torch.equal(negative, unchanged)
    query = encoded.query(batch.users)
    assert torch.allclose(positive, (query * encoded.pool(replaced)).sum(-1), atol=1e-5)
    rows = replaced[..., 0, :].square().sum(-1) - ego.item(batch.items).square().sum(-1)
    assert torch.allclose(squares - plain, rows / 2, atol=1e-5)


@pytest.mark.parametrize("model", ["lightgcn", "ngcf"])
def test_the_loss_sees_the_pooled_layers_and_l2_those_of_layer_0(model):
    scene = make("mixgcf", model, Engine.NUMBA)
    layers, encoded, batch = draw(scene).layers, scene.encoded, scene.batch
    ego = Encoded(*encoded.layers[0])
    positive, negative, squares = encoded.synthesised(batch.users, batch.items, layers, ego)
    for t in range(T):
        for b in range(B):
            u, i, negative_layers = batch.users[t, b], batch.items[t, b], layers[t, b, 0]
            pooled = negative_layers.flatten() if model == "ngcf" else negative_layers.mean(0)
            assert torch.allclose(negative[t, b, 0], encoded.users[t, u] @ pooled, atol=1e-5)
            assert torch.allclose(
                positive[t, b], encoded.users[t, u] @ encoded.items[t, i], atol=1e-5
            )
            rows = (encoded.layers[0][0][t, u], encoded.layers[0][1][t, i], negative_layers[0])
            assert torch.allclose(squares[t, b], sum(row @ row for row in rows) / 2, atol=1e-5)
