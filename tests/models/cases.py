"""The case of each model: its configuration, and a slow, dense version of it in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.rng import Purpose, Streams


@dataclass
class Toy:
    """One trial on a small data set.

    It has its parameters, the train pairs, and the step whose dropout is on (None: no dropout).
    """

    parameters: dict[str, Tensor]
    pairs: np.ndarray
    n_users: int
    n_items: int
    keys: dict
    seed: int
    step: int | None = None

    def uniform(self, counter: int, *shape: int) -> Tensor:
        return Streams([self.seed], Purpose.DROPOUT).uniform(counter, *shape)[0].double()

    @property
    def first(self) -> int:
        """The first number of the step."""
        entries = self.keys["L"] * (self.n_users + self.n_items) * self.keys["D"]
        per_entry = {"uniform": 1, "normal": 2}.get(self.keys.get("noise"), 0)
        return self.step * (2 * len(self.pairs) + entries * (1 + per_entry))

    def adjacency(self) -> Tensor:
        U, n = self.n_users, self.n_users + self.n_items
        A = torch.zeros(n, n, dtype=torch.float64)
        for u, i in self.pairs:
            A[u, U + i] = A[U + i, u] = 1
        return A

    def drop_edges(self, matrix: Tensor) -> Tensor:
        """Drop edges of both directions.

        Edges into users come first, ordered by (user, item), then those into items, ordered by
        (item, user).
        """
        rate, U = self.keys["node_dropout"], self.n_users
        if self.step is None or not rate:
            return matrix
        matrix, E = matrix.clone(), len(self.pairs)
        by_user = sorted((u, U + i) for u, i in self.pairs.tolist())
        by_item = sorted((U + i, u) for u, i in self.pairs.tolist())
        for place, (row, column) in enumerate([*by_user, *by_item]):
            kept = float(self.uniform(self.first, 2 * E)[place]) >= rate
            matrix[row, column] *= kept / (1 - rate)
        return matrix

    def drop_messages(self, layer: int, table: Tensor) -> Tensor:
        rate = self.keys["message_dropout"]
        if self.step is None or not rate:
            return table
        u = self.uniform(self.first + 2 * len(self.pairs) + layer * table.numel(), *table.shape)
        return table * (u >= rate) / (1 - rate)

    def move(self, layer: int, table: Tensor) -> Tensor:
        """Move each row by a random vector of length eps, with numbers after those of dropout."""
        if self.step is None:
            return table
        (U, I), D = (self.n_users, self.n_items), self.keys["D"]
        at = self.first + 2 * len(self.pairs) + self.keys["L"] * table.numel()
        if self.keys["noise"] == "uniform":
            w = self.uniform(at + layer * table.numel(), U + I, D)
        else:
            at += 2 * layer * table.numel()
            draws = self.uniform(at, 2, U, D), self.uniform(at + 2 * U * D, 2, I, D)
            radius, angle = torch.cat(draws, 1)
            w = torch.sqrt(-2 * torch.log(1 - radius)) * torch.cos(2 * math.pi * angle)
        lengths = torch.tensor([math.sqrt(sum(x * x for x in row)) for row in w.tolist()])
        return table + self.keys["eps"] * table.detach().sign() * w / lengths.double()[:, None]

    def ego(self) -> Tensor:
        return torch.cat([self.parameters["user"], self.parameters["item"]])


def degree_power(A: Tensor, power: float) -> Tensor:
    return torch.diag(
        torch.tensor([d**power if d else 0.0 for d in A.sum(1).tolist()], dtype=torch.float64)
    )


Layers = tuple[
    Tensor, list[Tensor]
]  # the pooled vectors and the layers they are pooled from, users above items


def mf(toy: Toy) -> Layers:
    E = toy.ego()
    if toy.keys["similarity"] == "cosine":
        E = torch.stack([row / math.sqrt(float(row @ row)) for row in E])
    return E, [E]


def gmf(toy: Toy) -> Layers:
    p, rate = toy.parameters["user"], toy.keys["user_dropout"]
    if toy.step is not None and rate:
        p = p * (toy.uniform(toy.step * p.numel(), *p.shape) >= rate) / (1 - rate)
    w = toy.parameters["w"][0]
    queries = torch.stack(
        [torch.stack([w[d] * p[u, d] for d in range(len(w))]) for u in range(toy.n_users)]
    )
    E = torch.cat([queries, toy.parameters["item"]])
    return E, [E]


def lightgcn(toy: Toy) -> Layers:
    A = toy.adjacency()
    A = toy.drop_edges(degree_power(A, -0.5) @ A @ degree_power(A, -0.5))
    layers = [toy.ego()]
    for l in range(toy.keys["L"]):
        layers.append(toy.drop_messages(l, A @ layers[-1]))
    E = sum(layers) / len(layers)
    if toy.keys["similarity"] == "cosine":
        E = torch.stack([row / row.norm().clamp(min=1e-12) for row in E])
    return E, layers


def lightgcnpp(toy: Toy) -> Layers:
    A, keys = toy.adjacency(), toy.keys
    A = toy.drop_edges(degree_power(A, -keys["alpha"]) @ A @ degree_power(A, -keys["beta"]))
    layers = [toy.ego()]
    for l in range(keys["L"]):
        rows = [row / row.norm() if row.any() else row for row in layers[-1]]
        layers.append(toy.drop_messages(l, A @ torch.stack(rows)))
    rest = sum(layers[1:]) / keys["L"]
    return keys["gamma"] * layers[0] + (1 - keys["gamma"]) * rest, layers


def xsimgcl(toy: Toy) -> Layers:
    A = toy.adjacency()
    A = toy.drop_edges(degree_power(A, -0.5) @ A @ degree_power(A, -0.5))
    layers = [toy.ego()]
    for l in range(toy.keys["L"]):
        layers.append(toy.move(l, toy.drop_messages(l, A @ layers[-1])))
    E = sum(layers[1:]) / toy.keys["L"]
    if toy.keys["similarity"] == "cosine":
        E = torch.stack([row / row.norm().clamp(min=1e-12) for row in E])
    return E, layers


def ngcf(toy: Toy) -> Layers:
    A = toy.adjacency()
    authors = toy.keys["variant"] == "authors"
    if authors:
        A = A + torch.eye(len(A), dtype=torch.float64)
        A = toy.drop_edges(degree_power(A, -1) @ A)
    else:
        A = toy.drop_edges(degree_power(A, -0.5) @ A @ degree_power(A, -0.5))
    E, read = toy.ego(), [toy.ego()]
    for l in range(toy.keys["L"]):

        def mapped(x: Tensor, which: str, l: int = l) -> Tensor:
            return x @ toy.parameters[f"{which}.{l}.weight"].T + toy.parameters[f"{which}.{l}.bias"]

        one, two = mapped(A @ E, "sums"), mapped(E * (A @ E), "products")
        E = (
            F.leaky_relu(one, 0.2) + F.leaky_relu(two, 0.2)
            if authors
            else F.leaky_relu(one + two, 0.2)
        )
        E = toy.drop_messages(l, E)
        read.append(torch.stack([row / row.norm().clamp(min=1e-12) for row in E]))
    return torch.cat(read, 1), read


# name: (YAML of the model, the slow version, values of its keys; a list has one per trial)
CASES: dict[str, tuple[str, Callable[[Toy], Layers], dict]] = {
    "mf": ("mf", mf, {}),
    "mf from a normal": ("mf", mf, {"init": "normal", "std": [1.0, 0.1, 0.5]}),
    "gmf": ("gmf", gmf, {}),
    "gmf with dropout, from ENMF's start": (
        "gmf",
        gmf,
        {"init": "enmf", "user_dropout": [0.1, 0.0, 0.5]},
    ),
    "lightgcn": ("lightgcn", lightgcn, {"L": 2}),
    "lightgcn with cosines": ("lightgcn", lightgcn, {"L": 2, "similarity": "cosine"}),
    "lightgcn with dropout": (
        "lightgcn",
        lightgcn,
        {
            "L": 3,
            "init": "normal",
            "message_dropout": [0.0, 0.3, 0.5],
            "node_dropout": [0.4, 0.0, 0.2],
        },
    ),
    "lightgcnpp": ("lightgcnpp", lightgcnpp, {"gamma": [0.2, 0.0, 1.0]}),
    "lightgcnpp with dropout": (
        "lightgcnpp",
        lightgcnpp,
        {
            "L": 3,
            "init": "xavier",
            "alpha": 0.5,
            "beta": 0.3,
            "gamma": [0.5, 0.1, 0.9],
            "message_dropout": [0.0, 0.3, 0.5],
            "node_dropout": [0.4, 0.0, 0.2],
        },
    ),
    "xsimgcl": ("xsimgcl", xsimgcl, {"L": 3, "eps": [0.1, 0.0, 0.5], "lam": [0.2, 0.0, 1.0]}),
    "xsimgcl as in IR-Benchmark": (
        "xsimgcl",
        xsimgcl,
        {
            "noise": "normal",
            "contrast": "rows",
            "similarity": "cosine",
            "eps": 0.1,
            "tau": [0.1, 0.2, 0.5],
        },
    ),
    "xsimgcl with dropout": (
        "xsimgcl",
        xsimgcl,
        {
            "contrast_layer": 2,
            "noise": "normal",
            "init": "normal",
            "message_dropout": [0.0, 0.3, 0.5],
            "node_dropout": [0.4, 0.0, 0.2],
        },
    ),
    "ngcf": ("ngcf", ngcf, {"L": 2}),
    "ngcf with dropout": (
        "ngcf",
        ngcf,
        {"L": 2, "message_dropout": [0.2, 0.0, 0.5], "node_dropout": [0.0, 0.3, 0.1]},
    ),
    "ngcf of the authors": (
        "ngcf",
        ngcf,
        {"L": 3, "variant": "authors", "message_dropout": [0.1, 0.0, 0.4]},
    ),
    "ngcf of the authors with node dropout": (
        "ngcf",
        ngcf,
        {"L": 2, "variant": "authors", "node_dropout": [0.1, 0.0, 0.4]},
    ),
}
