"""Measure the engine against plain ways of doing the same, side by side in one run.

    HAPENS_MIRROR=../shared/data python scripts/bench/bench.py
        [--datasets ml-1m phones] [--only epochs pool ...]

Prints ratios and writes `bench.csv`, row by row as they are measured, `bench.svg` and
`bench.provenance.json` into --out. RecBole and implicit are measured where .venv-recbole and
.venv-implicit exist (`make rivals`), and otherwise left out with the reason.
"""

from __future__ import annotations

import hapens_bench  # noqa: F401 - before torch: it settles how threads wait

# isort: split

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figure import draw
from machine import Record, best, ceilings, describe
from workload import Ours, interleaved, other, real, synthetic, timed

from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.devices import activate, pick_device
from hapens_bench.launch.pack_size import peak_bytes
from hapens_bench.samplers.pool import draw_pool

sys.path.insert(0, str(Path(__file__).parent / "rivals"))
import plain

Row = dict[str, Any]
SETTINGS = {
    "rns": ["sampler=rns"],
    "dns": ["sampler=dns", "sampler.M=32"],
    "ahns": ["sampler=ahns", "sampler.M=32"],
}
POOLS = {"rns": 1, "dns": 32, "ahns": 32}


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


def split_of_a_step(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of the parts of an AHNS step, each timed alone."""
    for dataset in args.datasets:
        ours = Ours(real(dataset), SETTINGS["ahns"], device=args.device)
        ways = {name: timed(work, ours.now, n=10) for name, work in ours.stages().items()}
        ours.steps(5)
        ways["whole step"] = lambda o=ours: o.steps(10)
        for work in ways.values():
            work()
        taken = interleaved(ways, 2 * args.rounds)
        taken["Adam"] -= taken["loss and gradient"]
        for way, seconds in taken.items():
            yield row("step", f"{dataset} ahns", way, seconds, taken["whole step"])


def samplers(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of a training step of every sampler (AHNS Figure 7); the ratio is to RNS."""
    names = sorted(path.stem for path in (conf_dir() / "sampler").glob("*.yaml"))
    for dataset in args.datasets:
        split = real(dataset)
        ours = {name: Ours(split, [f"sampler={name}"], device=args.device) for name in names}
        for workload in ours.values():
            workload.steps(5)
        taken = interleaved(
            {name: lambda o=workload: o.steps(10) for name, workload in ours.items()},
            2 * args.rounds,
        )
        for name, seconds in sorted(taken.items(), key=lambda pair: pair[1]):
            yield row("sampler", dataset, name, seconds, taken["rns"])


def packs(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of an AHNS epoch per trial of a pack of T; the ratio is to a trial alone."""
    for dataset in args.pack_datasets:
        split = real(dataset)
        alone = Ours(split, SETTINGS["ahns"], device=args.device)
        alone.epoch()
        for T in args.pack_sizes:
            ours = Ours(split, SETTINGS["ahns"], T, device=args.device)
            ours.epoch()
            ways = {"pack": lambda o=ours, T=T: o.epoch() / T, "alone": alone.epoch}
            taken = interleaved(ways, args.rounds if T <= 16 else 2)
            yield row("pack", f"{dataset} ahns", f"T = {T}", taken["pack"], taken["alone"])
        if args.device == "cuda":
            slow = Ours(split, SETTINGS["ahns"], device="cuda", engine="reference")
            seconds = slow.loop.n_steps * slow.steps(20)
            yield row(
                "pack", f"{dataset} ahns", "T = 1, plain torch, uncaptured", seconds, alone.epoch()
            )


def trials(args: argparse.Namespace) -> Iterator[Row]:
    """AHNS trials an hour, shuffling and evaluation included; the ratio is to one at a time."""
    usual = compose_config([])["trainer"]
    epochs, evaluations = usual["epochs"], -(-usual["epochs"] // usual["eval_every"])
    for dataset in args.pack_datasets:
        split, base = real(dataset), None
        smallest, *more = args.pack_sizes
        for T, engine in ((smallest, "auto"), (1, "reference"), *((T, "auto") for T in more)):
            ours = Ours(split, SETTINGS["ahns"], T, device=args.device, engine=engine)
            ranking = ours.ranking()
            ours.epoch_of(2)
            ours.rank(ranking, T)
            epoch, rank = ours.epoch, lambda o=ours, r=ranking, T=T: o.rank(r, T)
            taken = interleaved({"epoch": epoch, "rank": rank}, args.rounds)
            hourly = 3600 * T / (epochs * taken["epoch"] + evaluations * taken["rank"])
            base = base or hourly
            way = f"T = {T}" + (", plain torch" if engine == "reference" else "")
            yield row("trials an hour", f"{dataset} ahns", way, hourly, base)


def precision(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of a ranking product for 4,096 users and of 2^20 scores; the ratio is to float32."""
    device, allowed = torch.device(args.device), torch.backends.cuda.matmul.allow_tf32
    split = real(args.datasets[0])
    users, items = (torch.randn(n, 64, device=device) for n in (4096, split.n_items))
    index = torch.randint(0, split.n_items, (4096, 256), device=device)
    sync = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    times: dict[str, dict[str, float]] = {"product": {}, "scores": {}}
    for name in ("float32", "TF32", "bfloat16"):
        torch.backends.cuda.matmul.allow_tf32 = name == "TF32"
        u, v = (x.bfloat16() if name == "bfloat16" else x for x in (users, items))
        times["product"][name] = best(lambda u=u, v=v: u @ v.T, sync)
        times["scores"][name] = best(lambda u=u, v=v: (v[index] * u[:, None]).sum(-1), sync)
    torch.backends.cuda.matmul.allow_tf32 = allowed
    for case, taken in times.items():
        for name, seconds in taken.items():
            yield row("precision", case, name, seconds, taken["float32"])


def growth(args: argparse.Namespace) -> Iterator[Row]:
    """Seconds of a DNS step as M, items and users double; the ratio is to the previous size."""
    base = {"M": 32, "items": 20_000, "users": 20_000}
    for what in base:
        before = None
        for factor in (1, 2, 4):
            size = {**base, what: base[what] * factor}
            ours = Ours(
                synthetic(size["users"], size["items"], 400_000),
                ["sampler=dns", f"sampler.M={size['M']}"],
                device=args.device,
            )
            ours.steps(5)
            seconds = interleaved({"step": lambda o=ours: o.steps(10)}, 2 * args.rounds)["step"]
            yield row("growth", what, str(size[what]), seconds, before)
            before = seconds


def memory(args: argparse.Namespace) -> Iterator[Row]:
    """Peak MiB of an evaluation as users x items grows; the ratio is to the previous size."""
    before: float | None = None
    for users, items in ((10_000, 10_000), (20_000, 20_000), (40_000, 40_000)):
        ours = Ours(synthetic(users, items, 400_000), SETTINGS["rns"], device=args.device)
        ranking = ours.ranking()
        ours.rank(ranking)
        used = peak_bytes(lambda o=ours, r=ranking: o.rank(r), ours.device) / 2**20
        yield row("memory", "evaluation", f"{users} x {items}", used, before)
        before = max(used, 0.1)


def shares(rows: list[Row], machine: dict[str, Any], datasets: list[str]) -> Iterator[Row]:
    """Yield the share of the machine's ceilings that Adam and ranking reach.

    In float32 with D = 64. A share above 1 comes from the cache.
    """
    values = {(r["section"], r["case"], r["way"]): r.get("value") for r in rows}
    for dataset in datasets:
        adam = values.get(("step", f"{dataset} ahns", "Adam"))
        user = values.get(("evaluation", dataset, "ours"))
        if not adam and not user:
            continue
        split = real(dataset)
        if adam:
            # read p, m, v, g; write p, m, v, g
            moved = 8 * 4 * 64 * (split.n_users + split.n_items)
            yield row(
                "share",
                dataset,
                "Adam, of streaming",
                moved / adam / 1e9 / machine["streaming GB/s"],
                None,
            )
        if user:
            rate = 2 * 64 * split.n_items / user / 1e9 / machine["GEMM 256x64 @ 64x10429 GFLOP/s"]
            yield row("share", dataset, "ranking, of matrix products", rate, None)


def row(section: str, case: str, way: str, value: float | str, base: float | str | None) -> Row:
    if isinstance(value, str):
        return {"section": section, "case": case, "way": way, "note": value}
    ratio = value / base if isinstance(base, float) else None
    return {"section": section, "case": case, "way": way, "value": value, "ratio": ratio}


SECTIONS = {
    "epochs": epochs,
    "pool": pool,
    "evaluation": evaluation,
    "packed_evaluation": packed_evaluation,
    "step": split_of_a_step,
    "samplers": samplers,
    "packs": packs,
    "trials": trials,
    "growth": growth,
    "memory": memory,
    "precision": precision,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="*", default=["ml-1m", "phones"])
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pack-datasets", nargs="*", default=["planted", "tools"])
    parser.add_argument("--pack-sizes", nargs="*", type=int, default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    args = parser.parse_args()
    activate(pick_device(args.device))
    machine = {**describe(args.device), **ceilings(args.device)}
    stem = "bench" if args.device == "cpu" else "bench_cuda"
    record = Record(args.out / stem, machine, rounds=args.rounds)
    print(machine)
    for name in args.only:
        print(f"\n{name}: {SECTIONS[name].__doc__}")
        for measured in SECTIONS[name](args):
            tell(record, measured)
    for measured in shares(list(record.rows), machine, args.datasets):
        tell(record, measured)
    draw(record.frame, machine, args.out / f"{stem}.svg")
    print(f"written: {args.out}/{stem}.csv, .svg, .provenance.json")


def tell(record: Record, measured: Row) -> None:
    """Print a row and record it."""
    value = f"{measured['value']:.3g}" if "value" in measured else measured["note"]
    ratio = f"{measured['ratio']:.2f}" if measured.get("ratio") else ""
    print(f"  {measured['case']:20} {measured['way']:36} {value:>10} {ratio:>8}", flush=True)
    record.add(measured)


if __name__ == "__main__":
    main()
