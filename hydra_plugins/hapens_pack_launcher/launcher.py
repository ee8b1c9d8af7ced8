"""Registers the launchers: `hydra/launcher=pack`, `slurm` and `ray`.

Their code is imported when a sweep begins: Hydra loads every plugin, even to print a mistake.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from hapens_bench.launch.sweep import Carry


class PackLauncher(Launcher):
    composes_and_checks = True  # all jobs before any trains, so a sweeper need not

    def __init__(self, **settings: Any) -> None:
        self.settings = {
            k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v
            for k, v in settings.items()
        }

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.loader, self.config = hydra_context.config_loader, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from hapens_bench.config.compose import refuse_chdir
        from hapens_bench.launch.sweep import launch

        refuse_chdir(self.config.hydra)

        def compose(overrides: Sequence[str]) -> DictConfig:
            return self.loader.load_sweep_config(self.config, list(overrides))

        # As every launcher does, because sweepers write there.
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        with self.carrier() as carry:
            return launch(job_overrides, compose, carry)

    def carrier(self) -> "AbstractContextManager[Carry]":
        from hapens_bench.launch.sweep import on_devices

        return nullcontext(on_devices(**self.settings))


class SlurmLauncher(PackLauncher):
    def carrier(self) -> "AbstractContextManager[Carry]":
        from hapens_bench.launch.slurm import on_slurm

        return nullcontext(on_slurm(**self.settings))


class RayLauncher(PackLauncher):
    def carrier(self) -> "AbstractContextManager[Carry]":
        from hapens_bench.launch.ray import on_ray

        return on_ray(**self.settings)


@dataclass
class PackLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.PackLauncher"
    # One worker process each; null: all CUDA devices, else the CPU.
    devices: list[str] | None = None
    max_trials: int | None = None  # per pack; null: as many as memory holds


@dataclass
class SlurmLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.SlurmLauncher"
    cluster: str = "slurm"  # slurm | local: on this machine, all elements at once
    packs: int = 1  # array elements to spread the trials over, at most one per trial
    max_trials: int | None = None  # per array element; null: no limit
    max_requeues: int = 20  # times that an element may run out of time
    # Batch scripts and logs, on a file system that the nodes share.
    folder: str = "${hydra.sweep.dir}/submitit/%j"
    name: str = "hapens"
    timeout_min: int = 240
    # Seconds before the time limit at which checkpoints are written and the element is requeued.
    signal_delay_s: int = 120
    array_parallelism: int = 256  # elements running at once
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: list[str] | None = None  # shell lines before training: module load ...
    # Any other sbatch options.
    additional_parameters: dict[str, Any] = field(default_factory=lambda: {"requeue": True})


@dataclass
class RayLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.RayLauncher"
    # Of a cluster (auto, or ray://host:10001); null: start one on this machine.
    address: str | None = None
    num_cpus: float = 1.0  # per task
    # Per task; 0.25: four tasks share a GPU; null: 1 if the cluster has any, else 0.
    num_gpus: float | None = None
    max_trials: int | None = None  # per task; null: no limit


for name, node in {
    "pack": PackLauncherConf,
    "slurm": SlurmLauncherConf,
    "ray": RayLauncherConf,
}.items():
    ConfigStore.instance().store(
        group="hydra/launcher", name=name, node=node, provider="hapens_bench"
    )
