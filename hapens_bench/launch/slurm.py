"""`hydra/launcher=slurm`: an array job for each wave, an element for each share of the work."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hapens_bench.errors import UserError, needs
from hapens_bench.launch.job import Job
from hapens_bench.launch.packing import shares
from hapens_bench.launch.sweep import Carry, check_max_trials
from hapens_bench.launch.workers import note, note_death, train_share
from hapens_bench.termination import Terminated, listening
from hapens_bench.tracking.news import Tell

# Settings that submitit names alike for any cluster.
GENERIC = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "name")


def on_slurm(
    cluster: str,
    folder: str,
    packs: int,
    max_trials: int | None,
    max_requeues: int,
    **settings: Any,
) -> Carry:
    """Train in array jobs of at least `packs` elements, submitted by submitit.

    `cluster` is slurm, or local to start them on this machine. Near its time limit an element
    writes its checkpoints and goes back to the queue, at most `max_requeues` times. `settings` are
    those of `submitit.AutoExecutor.update_parameters`; None leaves one to SLURM.

    Raises:
        UserError: when submitit is not installed, there is no SLURM here, or it does not take the
        settings.
    """
    check_max_trials(max_trials)
    try:
        import submitit
    except ImportError:
        raise UserError(needs("hydra/launcher=slurm", "submitit", "slurm")) from None
    parameters = {
        key if key in GENERIC else f"slurm_{key}": value
        for key, value in settings.items()
        if value is not None
    }
    try:
        limits: dict[str, Any] = {f"{cluster}_max_num_timeout": max_requeues}
        executor = submitit.AutoExecutor(folder, cluster, **limits)
        executor.update_parameters(**parameters)
    except (RuntimeError, ValueError, NameError, AssertionError) as error:
        advice = "hydra.launcher.cluster=local runs the same on this machine"
        raise UserError(
            f"hydra/launcher=slurm cannot submit: {' '.join(str(error).split())}; {advice}"
        ) from error

    def carry(groups: Sequence[Sequence[Job]], tell: Tell) -> None:
        work = [list(share) for share in shares(groups, packs, max_trials)]
        for share, element in zip(work, executor.map_array(Element(max_trials), work), strict=True):
            try:
                note(share, element.result(), tell)
            except (
                submitit.core.utils.UncompletedJobError,
                submitit.core.utils.FailedJobError,
            ) as error:
                last, log = str(error).strip().splitlines()[-1], element.paths.stderr
                reason = f"array element {element.job_id} ended early ({last}); see {log}"
                note_death(share, reason, tell)

    return carry


@dataclass
class Element:
    """The work of an array element: train jobs, and stop with checkpoints when asked to.

    SLURM sends submitit's signal `signal_delay_s` before the time is up. Then submitit's own
    handler is called once the checkpoints are written, and puts the element back into the queue. At
    SIGTERM the process exits with 75 and leaves the rest to SLURM, which alone knows whether it
    means preemption or `scancel`.
    """

    max_trials: int | None
    again: bool = False

    def __call__(self, jobs: Sequence[Job]) -> list[tuple[str, str]]:
        """Train the jobs; if this is not the first time, `resume=force` has had its effect."""
        from submitit import JobEnvironment

        if self.again or os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
            for job in jobs:
                job.config = {**job.config, "resume": "auto"}
        near_the_end = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        requeue: Any = signal.getsignal(near_the_end)
        try:
            with listening(near_the_end):
                return train_share(jobs, self.max_trials)
        except Terminated as asked:
            if near_the_end in asked.signals:
                requeue(near_the_end, None)
            raise

    def checkpoint(self, jobs: Sequence[Job]) -> Any:
        """Return what to run when the element's turn comes again; submitit asks for it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Element(self.max_trials, again=True), jobs)
