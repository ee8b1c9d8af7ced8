"""The contract of each sampler: its settings, and a slow, obvious version of its rule.

A reference looks at one positive of one trial through a `Look`. It returns what `Negatives` should
hold for it: the items and, where the sampler returns them, weights, layers (one, on MF) and the
share in the extra loss. All numbers are float64.
"""

from __future__ import annotations

import math

from torch import Tensor

from tests.samplers.learned import adv_infonce, advir, ans, dens, generator, irgan_minimax
from tests.samplers.looks import Expected, Look


def rns(look: Look) -> Expected:
    return Expected(look.pool)


def pns(look: Look) -> Expected:
    popularity = [sum(j in row for row in look.known) for j in range(len(look.table))]
    total = sum(p**0.75 for p in popularity if p)
    lengths = [round(p**0.75 * (2**50 / total)) if p else 0 for p in popularity]
    known = set(look.known[int(look.batch.users[look.t, look.b])])
    free = [(j, lengths[j]) for j in range(len(lengths)) if j not in known]
    B = look.batch.users.shape[1]
    word = int(look.rng.bits(int(look.batch.step) * B, B)[look.t, look.b]) % 2**64 >> 11
    place = int(word * 2.0**-53 * sum(length for _, length in free))
    for j, length in free:
        if place < length:
            return Expected([j])
        place -= length
    raise AssertionError("the place is beyond the line")


def dns(look: Look) -> Expected:
    return Expected([look.hardest()])


def top(look: Look) -> list[int]:
    cand = look.cand
    order = sorted(range(len(cand)), key=lambda m: -cand[m])
    return [look.pool[m] for m in order[: look.keys["M"]]]


def dns_mn(look: Look) -> Expected:
    B = look.batch.users.shape[1]
    word = int(look.rng.bits(int(look.batch.step) * B, B)[look.t, look.b]) % 2**64
    bits = 62 - look.keys["M"].bit_length()
    return Expected([top(look)[(word >> (64 - bits)) * look.keys["M"] >> bits]])


def dns_mn_sum(look: Look) -> Expected:
    return Expected(top(look), any_order=True)


def softmax(look: Look) -> Expected:
    Z = [math.log1p(math.exp(s - look.pos)) for s in look.cand]
    mean = sum(Z) / len(Z)
    variance = sum((z - mean) ** 2 for z in Z) / (len(Z) - 1)
    tau = math.sqrt(variance / (2 * look.keys["rho"]))
    w = [math.exp((z - max(Z)) / tau) for z in Z]
    return Expected(look.pool, weights=[x / sum(w) for x in w])


def mixgcf(look: Look) -> Expected:
    j, a = look.hardest(), look.uniform(1)
    return Expected([j], layer=[a * look.i + (1 - a) * look.table[j]])


def cuco(look: Look) -> Expected:
    share = 1 - int(look.batch.epoch) / look.batch.epochs
    return Expected([look.hardest(max(1, math.floor(share * look.keys["M"])))])


def ahns(look: Look) -> Expected:
    target = look.keys["beta"] * math.pow(look.pos + look.keys["alpha"], look.keys["p"] + 1)
    cand = look.cand
    return Expected([look.pool[min(range(len(cand)), key=lambda m: abs(cand[m] - target))]])


def dins(look: Look) -> Expected:
    j = look.hardest()
    theirs, mine = (look.u * look.table[j]).exp(), (look.u * look.i).exp()
    n = theirs / (theirs + look.keys["a"] * mine)
    return Expected([j], layer=[(1 - n) * look.i + n * look.table[j]])


def below(word: int, n: int, n_max: int) -> int:
    bits = 62 - n_max.bit_length()
    return (word % 2**64 >> (64 - bits)) * n >> bits


def enmf(look: Look) -> Expected:
    B, known = look.batch.users.shape[1], look.known[int(look.batch.users[look.t, look.b])]
    word = int(look.rng.bits(int(look.batch.step) * B, B)[look.t, look.b])
    return Expected(look.pool, positives=[known[below(word, len(known), len(look.table))]])


def aobpr(look: Look) -> Expected:
    (D, I), R, B = (len(look.u), len(look.table)), look.keys["R"], look.batch.users.shape[1]
    by_factor, by_rank = look.rng.uniform(int(look.batch.step) * 2 * B * R, 2, B, R)[
        look.t, :, look.b
    ].tolist()
    columns = look.table.T.tolist()
    means = [sum(column) / I for column in columns]
    sigma = [
        math.sqrt(sum((x - mean) ** 2 for x in column) / I) for column, mean in zip(columns, means)
    ]
    power = {"std": 1, "variance": 2}[look.keys["spread"]]
    weight = [abs(float(look.u[f])) * sigma[f] ** power for f in range(D)]
    lam = look.keys["lam"] * I
    total = sum(math.exp(-r / lam) for r in range(I))
    for a, b in zip(by_factor, by_rank):
        f = next(f for f in range(D) if sum(weight[: f + 1]) > a * sum(weight))
        r = next(r for r in range(I) if sum(math.exp(-k / lam) for k in range(r + 1)) / total > b)
        ranked = sorted(range(I), key=lambda j: -columns[f][j])
        j = ranked[r] if look.u[f] > 0 else ranked[I - 1 - r]
        if j not in look.known[int(look.batch.users[look.t, look.b])]:
            return Expected([j])
    return Expected(look.pool)


def hapens(look: Look) -> Expected:
    M, n = look.keys["M"], look.keys["M_max"]
    r, passed, cand = float(look.uniform(1)), 1.0, look.cand
    for j, left in zip(sorted(range(n), key=lambda m: -cand[m]), range(n, 0, -1)):
        passed *= max(0.0, 1 - M / left)
        if passed <= r:
            return Expected([look.pool[j]])
    raise AssertionError("the last of the candidates is always taken")


def gdns(look: Look) -> Expected:
    N, B, u = look.keys["N"], look.batch.users.shape[1], int(look.batch.users[look.t, look.b])
    G, known = look.sampler.G[look.t, u].tolist(), look.known[u]
    words = look.rng.bits(int(look.batch.step) * B * N, B, N)[look.t, look.b].tolist()
    positives = [known[below(word, len(known), len(look.table))] for word in words]
    return Expected(sorted(look.pool, key=lambda j: -G[j])[:N], any_order=True, positives=positives)


def srns(look: Look) -> Expected:
    users = look.batch.users[look.t].tolist()
    # The memory is empty, so it is filled from the pool; no score has varied yet.
    memory = look.pools[users.index(users[look.b])][: look.keys["S1"]]
    return Expected([max(memory, key=lambda j: float(look.u @ look.table[j]))])


def bns(look: Look) -> Expected:
    u, S, M = int(look.batch.users[look.t, look.b]), look.keys["S"], look.keys["M"]
    N, n_items = sum(map(len, look.known)), len(look.table)
    others = look.pool[M:] if S else [j for j in range(n_items) if j not in look.known[u]]

    def risk(j: int) -> float:
        s = float(look.u @ look.table[j])
        info = 1 - 1 / (1 + math.exp(s - look.pos))
        F = sum(float(look.u @ look.table[k]) < s for k in others) + 1
        F /= S + 2 if S else len(others) + 1
        P = sum(j in row for row in look.known) / N
        unbias = (1 - F) * (1 - P) / (1 - F - P + 2 * F * P)
        return (1 - unbias) * info - look.keys["lam"] * unbias * info

    return Expected([min(look.pool[:M], key=risk)])


def var_bpr(look: Look) -> Expected:
    n, B, u = look.keys["M"] - 1, look.batch.users.shape[1], int(look.batch.users[look.t, look.b])
    words = look.rng.bits(int(look.batch.step) * B * n, B, n)[look.t, look.b].tolist()
    known = look.known[u]
    others = [known[below(word, len(known), len(look.table))] for word in words]
    return Expected(look.pool, positives=[int(look.batch.items[look.t, look.b]), *others])


def in_batch(look: Look) -> Expected:
    keys, items, B = look.keys, look.batch.items[look.t].tolist(), look.batch.users.shape[1]
    K, N, I = keys["K"] or B - 1, keys["N"], len(look.table)
    mine = look.known[int(look.batch.users[look.t, look.b])]
    degree = [sum(j in row for row in look.known) for j in range(I)]

    def q(j: int) -> float:
        return K * degree[j] / sum(degree) + N / I

    def weight(j: int) -> float:
        return q(items[look.b]) / q(j) if keys["logq"] else 1.0

    drawn, weights = [], []
    for k in range(1, K + 1):
        j = items[(look.b + k) % B]
        drawn.append(look.pool[N] if j in mine else j)
        weights.append(0.0 if j in mine else weight(j))
    return Expected(drawn + look.pool[:N], weights=weights + [weight(j) for j in look.pool[:N]])


def softmax_mix(look: Look, own: Tensor, others: list[Tensor]) -> Tensor:
    weights = [look.keys["alpha"] * math.exp(float(look.u @ own))]
    weights += [math.exp(float(look.u @ other)) for other in others]
    vectors = [own, *others]
    return sum(w / sum(weights) * x for w, x in zip(weights, vectors, strict=True))


def with_history(look: Look) -> Tensor:
    W, B, u = look.keys["W"], look.batch.users.shape[1], int(look.batch.users[look.t, look.b])
    words = look.rng.bits(int(look.batch.step) * B * W, B, W)[look.t, look.b].tolist()
    history = [look.known[u][below(word, len(look.known[u]), len(look.table))] for word in words]
    return softmax_mix(look, look.i, [look.table[h] for h in history])


def dcans(look: Look) -> Expected:
    j = look.hardest()
    return Expected([j], layer=[softmax_mix(look, with_history(look), [look.table[j]])])


def stabcf(look: Look) -> Expected:
    mixed, j = with_history(look), look.hardest()
    nearest = max(look.pool, key=lambda k: float(mixed @ look.table[k]))
    layer = softmax_mix(look, mixed, [look.table[j], look.table[nearest]])
    return Expected([j], layer=[layer], positive_layer=mixed)


def divns(look: Look) -> Expected:
    B, u, j = look.batch.users.shape[1], int(look.batch.users[look.t, look.b]), look.hardest()
    word = int(look.rng.bits(int(look.batch.step) * B, B)[look.t, look.b])
    before = sum(map(len, look.known[:u]))
    place = before + below(word, len(look.known[u]), len(look.table))
    d = int(look.sampler.diverse[look.t, place])
    d = j if d < 0 else d  # in the first epoch nothing is selected
    lam = look.keys["lam"]
    return Expected([j], layer=[lam * look.table[j] + (1 - lam) * look.table[d]])


# sampler's YAML: (the rule, values of its keys; a list gives each of three trials its own)
CASES = {
    "rns": (rns, {}),
    "pns": (pns, {}),
    "enmf": (enmf, {}),
    "worst_case": (enmf, {"K": 3}),
    "hapens": (hapens, {"M": [1.0, 3.5, 9.0], "M_max": 9}),
    "aobpr": (aobpr, {"lam": [0.05, 0.2, 2.0], "R": 2}),
    "gdns": (gdns, {"N": 4, "M": 12, "alpha": [0.2, 0.5, 0.9]}),
    "srns": (srns, {"S1": 3, "S2": 5, "tau": [0.5, 1.0, 10.0]}),
    "ssm": (rns, {"K": 5}),
    "directau": (rns, {}),
    **{name: (rns, {"K": 4}) for name in ("sl", "bsl", "psl", "sl_at_k", "ccl")},
    "adv_infonce": (adv_infonce, {"K": 5, "tau": [0.1, 0.5, 1.0], "c": [64, 1, 0.5], "every": 1}),
    "in_batch": (in_batch, {}),
    "mixed": (in_batch, {"K": 7, "N": 5}),
    "var_bpr": (var_bpr, {"M": 3, "N": 4}),
    "bns": (bns, {"M": 5, "lam": [5.0, 0.5, 0.0]}),
    "dns": (dns, {}),
    "sdns": (dns, {"M": 6}),
    "hard_bpr": (dns, {"M": 6}),
    "dns_mn": (dns_mn, {"M": 3, "N": 9}),
    "dns_mn_sum": (dns_mn_sum, {"M": 3, "N": 9}),
    "softmax": (softmax, {"rho": [0.1, 1.0, 10.0], "N": 7}),
    "mixgcf": (mixgcf, {"M": 6}),
    "dens": (dens, {"M": 5, "gamma": [0.1, 0.5, 1.0], "alpha": [1.0, 0.4, 0.0]}),
    "cuco": (cuco, {"M": 7}),
    "ahns": (ahns, {"alpha": [1.0, 0.5, 0.1], "beta": [0.1, 0.4, 1.0], "p": [-2, -2, -3]}),
    "ahns_p1": (ahns, {"alpha": [1.0, 0.5, 0.1], "beta": [0.1, 0.5, 0.9], "p": [-1, -1, -1]}),
    "dcans": (dcans, {"M": 6, "W": 3, "alpha": [1.0, 0.3, 20.0]}),
    "stabcf": (stabcf, {"M": 6, "W": 3, "alpha": [1.0, 0.3, 20.0]}),
    "divns": (divns, {"M": 6, "r": 3, "lam": [0.7, 0.5, 1.0]}),
    "dins": (dins, {"M": 6, "a": [0.3, 2.5, 9.5]}),
    "irgan": (generator, {"M": 6, "temperature": [1.0, 0.2, 0.05], "l2": [0.0, 0.1, 1.0]}),
    "rns_as": (generator, {"M": 9, "temperature": [1.0, 0.2, 0.05], "start": "scratch"}),
    "advir": (
        advir,
        {"M": 5, "temperature": [1.0, 0.2, 0.05], "eps": [0.5, 0.0, 2.0], "lam": [1.0, 0.5, 3.0]},
    ),
    "irgan_minimax": (
        irgan_minimax,
        {"M": 4, "pretrain": 0, "temperature": [0.2, 1.0, 3.0], "l2": [0.0, 0.1, 1.0]},
    ),
    "ans": (ans, {"M": 4, "gamma": [0.4, 0.1, 1.0], "eps": [0.2, 0.0, 1.0]}),
}
