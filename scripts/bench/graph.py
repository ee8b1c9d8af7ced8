"""Measure graph propagation, and the training steps that contain it, against plain ways.

    HAPENS_MIRROR=<folder of data files> python scripts/bench/graph.py
        [--dataset gowalla] [--threads 1 2] [--trials 1 4] [--only rivals]

Prints seconds and ratios, and writes `graph.csv`, row by row as they are measured, and
`graph.provenance.json` into --out. A product is one with the whole normalised adjacency matrix; its
seconds are per trial. All ways are timed in turn, round by round, and the median is kept.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import Record, describe
from scipy.sparse import csr_matrix
from workload import Ours, interleaved, other, real, timed

from hapens_bench.data.interactions import Split
from hapens_bench.kernels import Engine
from hapens_bench.kernels.cpu import set_threads
from hapens_bench.models.graph import Graph

Row = dict[str, Any]
D, L = 64, 3


def products(args: argparse.Namespace, threads: int) -> Iterator[Row]:
    split = real(args.dataset)
    size = (split.full_train, split.n_users, split.n_items)
    fast, plain, folded = (
        Graph(*size, engine=engine) for engine in (Engine.NUMBA, Engine.PLAIN, Engine.CUDA)
    )
    weights = fast.symmetric()
    halves = [
        (fast.users, weights.into_users[0], split.n_items),
        (fast.items, weights.into_items[0], split.n_users),
    ]
    arrays = [(w.numpy(), e.index.numpy(), e.indptr.numpy()) for e, w, _ in halves]
    matrices = [
        csr_matrix(parts, shape=(len(parts[2]) - 1, m))
        for parts, (_, _, m) in zip(arrays, halves, strict=True)
    ]
    receivers = [
        torch.repeat_interleave(torch.arange(len(e.indptr) - 1), e.indptr.diff())
        for e, _, _ in halves
    ]
    for T in args.trials:
        users, items = torch.randn(T, split.n_users, D), torch.randn(T, split.n_items, D)
        wide = [table.transpose(0, 1).reshape(1, -1, T * D) for table in (users, items)]

        def scipy(users: torch.Tensor = users, items: torch.Tensor = items) -> None:
            for u, i in zip(users, items, strict=True):
                _ = matrices[0] @ i.numpy(), matrices[1] @ u.numpy()

        def scatter(users: torch.Tensor = users, items: torch.Tensor = items) -> None:
            for tables in zip(users, items, strict=True):
                for (edges, weight, _), table, into in zip(
                    halves, tables[::-1], receivers, strict=True
                ):
                    messages = table[edges.index] * weight[:, None]
                    torch.zeros(len(edges.indptr) - 1, D).index_add_(0, into, messages)

        ways: dict[str, Callable[[], object]] = {
            "ours": lambda u=users, i=items: fast.propagate(u, i, weights),
            "ours, trials folded into features": lambda w=wide: fast.propagate(*w, weights),
            "torch.sparse, CSR, trial by trial": lambda u=users, i=items: plain.propagate(
                u, i, weights
            ),
            "torch.sparse, CSR, trials folded into features": lambda u=users, i=items: (
                folded.propagate(u, i, weights)
            ),
            "scipy.sparse, one thread": scipy,
            "messages gathered and scattered": scatter,
        }
        for work in ways.values():
            work()
        taken = interleaved({way: timed(work) for way, work in ways.items()}, args.rounds)
        for way, seconds in taken.items():
            yield row(f"product, T = {T}", threads, way, seconds / T, taken["ours"] / T)


def steps(args: argparse.Namespace, threads: int) -> Iterator[Row]:
    split = real(args.dataset)
    models = {
        "mf": [],
        "lightgcn": [],
        "ngcf": [],
        "ngcf of the authors": ["model.variant=authors"],
    }
    every = {
        name: Ours(split, [f"model={name.split()[0]}", *more]) for name, more in models.items()
    }
    every["lightgcn, plain torch"] = Ours(split, ["model=lightgcn"], engine="reference")
    taken = two_steps(every, args.rounds, warm_up=2)
    for way, seconds in taken.items():
        yield row("step, rns", threads, way, seconds, taken["mf"])
    yield row(
        "epoch, rns", threads, "lightgcn", taken["lightgcn"] * every["lightgcn"].loop.n_steps, None
    )
    yield from bound(split, threads, taken["lightgcn"], args.rounds)


def two_steps(every: dict[str, Ours], rounds: int, warm_up: int) -> dict[str, float]:
    """Time two steps of each workload in turn, after some to warm up."""
    for workload in every.values():
        workload.steps(warm_up)
    ways = {name: lambda o=workload: o.steps(2) for name, workload in every.items()}
    return interleaved(ways, rounds)


def bound(split: Split, threads: int, step: float, rounds: int) -> Iterator[Row]:
    """Time reading, in order, as many bytes as a LightGCN step moves; the ratio is to the step.

    They are read from an array of the tables' size. Each of the 2 L products of a step gathers a
    row of D numbers, an index and a weight for every edge in both directions, and writes a row for
    every node.
    """
    nodes, edges = split.n_users + split.n_items, 2 * len(split.full_train)
    moved = 2 * L * (edges * (4 * D + 8) + nodes * 4 * D)
    tables = torch.randn(nodes, D)
    (seconds,) = interleaved({"read": timed(tables.sum, n=50)}, rounds).values()
    at_least = moved * seconds / (4 * tables.numel())
    yield row(f"bound of a step: {moved / 1e9:.2f} GB", threads, "read in order", at_least, step)


def packs(args: argparse.Namespace, threads: int) -> Iterator[Row]:
    """Time a step of a pack of T against a step of one: how many single runs the pack costs."""
    split = real(args.dataset)
    every = {f"a pack of {T}": Ours(split, ["model=lightgcn"], T=T) for T in (1, *args.packs)}
    taken = two_steps(every, args.rounds, warm_up=1)
    for way, seconds in taken.items():
        yield row("step of a pack, rns", threads, way, seconds, taken["a pack of 1"])


def rivals(args: argparse.Namespace, threads: int) -> Iterator[Row]:
    """Time LightGCN epochs with uniform negatives, ours and RecBole's in turn, by `--batches`."""
    split = real(args.dataset)
    ours, answers = Ours(split, ["model=lightgcn"]), []
    ours.steps(2)

    def recbole() -> float:
        answers.append(
            other(
                "recbole",
                split,
                "--model",
                "LightGCN",
                "--warmup",
                "3",
                "--batches",
                str(args.batches),
            )
        )
        return answers[-1] if isinstance(answers[-1], float) else float("nan")

    taken = interleaved(
        {"ours": lambda: ours.loop.n_steps * ours.steps(args.batches), "recbole": recbole}, 3
    )
    for way, seconds in taken.items():
        said = [a for a in answers if isinstance(a, str)] if way == "recbole" else []
        yield row(
            "epoch of LightGCN, rns", threads, said[0] if said else way, seconds, taken["ours"]
        )


SECTIONS = {"product": products, "step": steps, "packs": packs, "rivals": rivals}


def row(case: str, threads: int, way: str, seconds: float, base: float | None) -> Row:
    return {
        "case": case,
        "threads": threads,
        "way": way,
        "seconds": seconds,
        "ratio": base and seconds / base,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="gowalla")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--trials", nargs="*", type=int, default=[1, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--packs", nargs="*", type=int, default=[4])
    parser.add_argument(
        "--batches",
        type=int,
        default=20,
        help="batches of an epoch to time against another library",
    )
    parser.add_argument("--only", nargs="*", choices=tuple(SECTIONS), default=list(SECTIONS))
    args = parser.parse_args()
    record = Record(args.out / "graph", describe("cpu"), rounds=args.rounds)
    print(f"{args.dataset}, D = {D}: case, threads, way, seconds, ratio")
    for threads in args.threads:
        set_threads(threads)
        for section in args.only:
            for measured in SECTIONS[section](args, threads):
                ratio = f"{measured['ratio']:.2f}" if measured["ratio"] else ""
                print(
                    f"{measured['case']:24} {threads} {measured['way']:48} "
                    f"{measured['seconds']:8.3g} {ratio:>8}",
                    flush=True,
                )
                record.add(measured)


if __name__ == "__main__":
    main()
