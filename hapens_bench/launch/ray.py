"""`hydra/launcher=ray`: a task for each share of the work, on an existing or a local cluster."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from hapens_bench.errors import UserError, needs
from hapens_bench.launch.job import Job
from hapens_bench.launch.packing import shares
from hapens_bench.launch.sweep import Carry, check_max_trials
from hapens_bench.launch.workers import note, note_death, train_share
from hapens_bench.tracking.news import Tell


@contextlib.contextmanager
def on_ray(
    address: str | None, num_cpus: float, num_gpus: float | None, max_trials: int | None
) -> Iterator[Carry]:
    """Train in tasks that each ask for `num_cpus` CPUs and `num_gpus` GPUs.

    Fractions of a GPU share it; None asks for 1 where the cluster has any. `address` None starts a
    cluster on this machine and stops it at the end.

    Raises:
        UserError: when Ray is not installed, the cluster cannot be reached, or it has too little
        for one task.
    """
    check_max_trials(max_trials)
    try:
        import ray
    except ImportError:
        raise UserError(needs("hydra/launcher=ray", "ray", "ray")) from None
    try:
        ray.init(address=address or "local", logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"hydra.launcher.address={address} cannot be reached: {' '.join(str(error).split())}"
        ) from error
    try:
        has = ray.cluster_resources()
        gpus = (1.0 if has.get("GPU") else 0.0) if num_gpus is None else num_gpus
        wanted = {"CPU": num_cpus, "GPU": gpus}
        places = min(has.get(name, 0.0) / amount for name, amount in wanted.items() if amount > 0)
        if places < 1:
            raise UserError(
                f"a task wants {num_cpus:g} CPUs and {gpus:g} GPUs "
                "(hydra.launcher.num_cpus and num_gpus), but the Ray cluster has "
                f"{has.get('CPU', 0):g} and {has.get('GPU', 0):g}"
            )
        task: Any = ray.remote(train_share).options(num_cpus=num_cpus, num_gpus=gpus, max_retries=0)

        def carry(groups: Sequence[Sequence[Job]], tell: Tell) -> None:
            threads = max(1, int(num_cpus))
            work = [list(share) for share in shares(groups, int(places), max_trials)]
            answers = [task.remote(share, max_trials, threads) for share in work]
            for share, answer in zip(work, answers, strict=True):
                try:
                    note(share, ray.get(answer), tell)
                except ray.exceptions.RayError as error:
                    last = str(error).strip().splitlines()[-1]
                    note_death(share, f"its Ray task ended early: {last}", tell)

        yield carry
    finally:
        ray.shutdown()
