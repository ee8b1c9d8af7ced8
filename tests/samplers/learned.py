"""Slow versions of the rules that have parameters of their own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.samplers.looks import Expected, Look


def dens(look: Look) -> Expected:
    gated = look.i * torch.sigmoid(look.linear("A_i", look.i) + look.linear("A_u", look.u))

    def relevant(j: int) -> Tensor:
        e = look.table[j]
        return e * torch.sigmoid(look.linear("B_n", e) + look.linear("B_p", gated))

    c = 1 - look.keys["alpha"]
    scores = [float(look.u @ (c * look.table[j] - relevant(j))) for j in look.pool]
    j = look.pool[max(range(len(scores)), key=lambda m: scores[m])]
    p_r, p_ir, n_r = (float(look.u @ x) for x in (gated, look.i - gated, relevant(j)))
    n_ir = float(look.u @ (look.table[j] - relevant(j)))
    gaps = (p_ir - p_r, n_r - n_ir, n_r - p_r, p_ir - n_ir)
    return Expected(
        [j], extra=look.keys["gamma"] / 4 * sum(math.log1p(math.exp(gap)) for gap in gaps)
    )


def ans(look: Look) -> Expected:
    D, M = len(look.u), len(look.pool)
    z = look.uniform(M, D)
    best, contrast, nearness, overlap = None, 0.0, 0.0, 0.0
    for m, j in enumerate(look.pool):
        e = look.table[j]
        g = torch.sigmoid(look.linear("A", e) * look.linear("C", look.u))
        hard, p_hard = e * g, look.i * g
        easy, p_easy = e - hard, look.i - p_hard
        margin = torch.sigmoid(1 / look.linear("W", hard * p_hard))
        augmented = e + margin * F.normalize(z[m], dim=0) * torch.sign(p_easy - easy)
        score, raw = float(look.u @ augmented), float(look.u @ e)
        value = score + look.keys["eps"] * (score - raw)
        if best is None or value > best[0]:
            best = value, j, augmented
        contrast += math.exp(float(look.u @ easy) - float(look.u @ hard))
        nearness += float((hard - p_hard).norm()) / M
        overlap += float((p_easy * easy).abs().sum()) / M
    extra = look.keys["gamma"] * (math.log1p(contrast) + nearness + overlap)
    return Expected([best[1]], layer=[best[2]], extra=extra)


def generator(look: Look, extra: float = 0.0) -> Expected:
    """Return a candidate drawn by the generator's softmax.

    Its own loss adds nothing to the value: see tests/samplers/test_generators.py.
    """
    G, user = look.sampler.generator, int(look.batch.users[look.t, look.b])
    u, table = G.user[look.t, user].detach().double(), G.item[look.t].detach().double()
    scores = [float(u @ table[j]) for j in look.pool]
    p = [math.exp(score / look.keys["temperature"]) for score in scores]
    place = float(look.uniform()) * sum(p)
    for j, width in zip(look.pool, p, strict=True):
        if place < width:
            return Expected([j], extra=extra)
        place -= width
    return Expected([look.pool[-1]], extra=extra)


def advir(look: Look) -> Expected:
    (j,) = generator(look).items
    gap = float(look.u @ look.table[j]) - look.pos + 2 * look.keys["eps"] * float(look.u.norm())
    return generator(look, look.keys["lam"] * math.log1p(math.exp(gap)))


def catalogue(p: Tensor, u: float) -> int:
    """Return the item that u falls on, where items are as long as their probabilities."""
    return next(j for j, end in enumerate(p.cumsum(0).tolist()) if u * float(p.sum()) < end)


def irgan_minimax(look: Look) -> Expected:
    """Return the loss of the discriminator, whose turn it is (`pretrain` is 0)."""
    user, i = (int(x[look.t, look.b]) for x in (look.batch.users, look.batch.items))
    p = torch.softmax(look.table @ look.u / look.keys["temperature"], 0)
    j = catalogue(p, float(look.uniform(5)[0]))
    D = look.sampler.discriminator
    u, table = D.user[look.t, user].detach().double(), D.item[look.t].detach().double()
    entropy = math.log1p(math.exp(-float(u @ table[i]))) + math.log1p(math.exp(float(u @ table[j])))
    squares = float(u @ u + table[i] @ table[i] + table[j] @ table[j])
    return Expected([look.hardest()], weights=[0.0], extra=entropy + look.keys["l2"] / 2 * squares)


def adv_infonce(look: Look) -> Expected:
    """Return the pool with its weights.

    The adversary's loss adds nothing to the value: see tests/samplers/test_adv_infonce.py.
    """
    tables, K = look.sampler.adversary, len(look.pool)
    a = tables.user[look.t, int(look.batch.users[look.t, look.b])].detach().double()
    g = [math.exp(float(a @ tables.item[look.t, j].detach().double())) for j in look.pool]
    return Expected(look.pool, weights=[look.keys["c"] * K * x / sum(g) for x in g], extra=0.0)
