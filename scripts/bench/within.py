"""Sections of bench.py on the engine itself: steps, samplers, packs, growth, memory."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
from machine import best
from rows import SETTINGS, Row, row
from workload import Ours, interleaved, real, synthetic, timed

from hapens_bench.config.compose import compose_config
from hapens_bench.config.paths import conf_dir
from hapens_bench.launch.pack_size import peak_bytes


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
    files = (conf_dir() / "sampler").glob("*.yaml")
    names = sorted(path.stem for path in files if path.stem != "none")  # which takes no step
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
