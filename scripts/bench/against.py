"""Sections of bench.py that hold the engine against other ways of doing the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import POOLS, SETTINGS, Row, row
from workload import Ours, interleaved, other, real, timed

from hapens_bench.samplers.pool import draw_pool

sys.path.insert(0, str(Path(__file__).parent / "rivals"))
import plain


def epochs(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of a training epoch, drawing candidates included; the ratio is to ours."""
    for dataset in args.datasets:
        split = real(dataset)
        for sampler, overrides in SETTINGS.items():
            fast, slow = Ours(split, overrides), Ours(split, overrides, engine="reference")
            fast.epoch_of(2)
            slow.epoch_of(2)
            n, M = fast.loop.n_steps, POOLS[sampler]
            few = min(n, 8)
            size = (split.full_train, split.n_users, split.n_items)
            scripts = {tidy: plain.PlainMF(*size, tidy=tidy) for tidy in (False, True)}
            ways: dict[str, Callable[[], float]] = {
                "ours": fast.epoch,
                "ours, plain torch": lambda s=slow, n=n, few=few: n * s.steps(few),
            }
            for tidy, script in scripts.items():
                name = "plain script, tidied" if tidy else "plain script"
                ways[name] = lambda s=script, n=n, few=few, M=M, a=sampler: (
                    n * s.steps(few, a, M) / few
                )
            taken = interleaved(ways, args.rounds)
            for rival in ("recbole", "implicit"):
                taken[rival] = (
                    "has no AHNS"
                    if sampler == "ahns"
                    else other(rival, split, "--sampler", sampler)
                )
            for way, seconds in taken.items():
                yield row("epoch", f"{dataset} {sampler}", way, seconds, taken["ours"])


def pool(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds to draw exact uniform candidates for a step, B = 2048 and M = 32."""
    for dataset in args.datasets:
        split = real(dataset)
        users = torch.from_numpy(
            split.full_train[np.random.default_rng(0).integers(0, len(split.full_train), 2048)]
        )
        ways: dict[str, Callable[[], float]] = {}
        for engine in ("auto", "reference"):
            ours = Ours(split, SETTINGS["dns"], engine=engine)

            def draw(ours: Ours = ours, users: torch.Tensor = users) -> object:
                return draw_pool(
                    ours.positives, users[None, :, 0].contiguous(), 32, ours.pack.pool_streams, 0
                )

            draw()
            ways["ours" if engine == "auto" else "ours, plain torch"] = timed(draw, n=10)
        for tidy in (False, True):
            script = plain.PlainMF(split.full_train, split.n_users, split.n_items, tidy=tidy)
            ways["plain script, tidied" if tidy else "plain script"] = timed(
                lambda s=script, u=users: s._draw(u, 32)
            )
        taken = interleaved(ways, args.rounds)
        for way, seconds in taken.items():
            yield row("pool", dataset, way, seconds, taken["ours"])


def evaluation(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds per user of the full ranking of all test users, five metrics at two cut-offs."""
    for dataset in args.datasets:
        split = real(dataset)
        fast, slow = Ours(split, SETTINGS["rns"]), Ours(split, SETTINGS["rns"], engine="reference")
        ranking, plainly = fast.ranking(), slow.ranking()
        model = fast.pack.model.encode().detach()
        users, items = model.queries[0][ranking.users], model.items[0].T.contiguous()
        block = torch.empty(256, split.n_items)
        test = split.test[: len(split.test) // 20]

        def products(users: Any = users, items: Any = items, block: Any = block) -> None:
            for queries in users.split(256):
                torch.mm(queries, items, out=block[: len(queries)])

        def loop(
            split: Any = split, test: Any = test, model: Any = model, total: int = len(users)
        ) -> float:
            _, seconds, n = plain.evaluate(model.queries[0], model.items[0], split.full_train, test)
            return seconds / n * total

        ways = {
            "ours": lambda f=fast, r=ranking: f.rank(r),
            "ours, plain torch": lambda s=slow, r=plainly: s.rank(r),
            "matrix products alone": timed(products),
            "plain script, a heap a user": loop,
        }
        fast.rank(ranking)
        taken = interleaved(ways, args.rounds)
        for way, seconds in taken.items():
            yield row("evaluation", dataset, way, seconds / len(users), taken["ours"] / len(users))


def packed_evaluation(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds per trial of the full ranking of a pack of 8; the ratio is to trial after trial."""
    for dataset in args.datasets:
        ours = Ours(real(dataset), SETTINGS["rns"], T=8, device=args.device)
        alone, together = ours.ranking(), ours.ranking()
        alone.together, together.together = 1, 8
        ways = {
            "alone": lambda o=ours, r=alone: o.rank(r, 8) / 8,
            "together": lambda o=ours, r=together: o.rank(r, 8) / 8,
        }
        for way in ways.values():
            way()
        taken = interleaved(ways, args.rounds)
        for way, seconds in taken.items():
            yield row("evaluation of 8", dataset, way, seconds, taken["alone"])
