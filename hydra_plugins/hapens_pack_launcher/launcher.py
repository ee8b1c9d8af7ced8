"""The few lines by which Hydra finds the launchers: `hydra/launcher=pack`, `slurm` and `ray`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hapens_bench.launch.ray import on_ray
from hapens_bench.launch.slurm import on_slurm
from hapens_bench.launch.sweep import Carry, launch, on_devices


class PackLauncher(Launcher):
    composes_and_checks = True  # all jobs, before any trains: a sweeper need not

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
        def compose(overrides: Sequence[str]) -> DictConfig:
            return self.loader.load_sweep_config(self.config, list(overrides))

        # As every launcher does: sweepers write there.
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        with self.carrier() as carry:
            return launch(job_overrides, compose, carry)

    def carrier(self) -> AbstractContextManager[Carry]:
        return nullcontext(on_devices(**self.settings))


class SlurmLauncher(PackLauncher):
    def carrier(self) -> AbstractContextManager[Carry]:
        return nullcontext(on_slurm(**self.settings))


class RayLauncher(PackLauncher):
    def carrier(self) -> AbstractContextManager[Carry]:
        return on_ray(**self.settings)


@dataclass
class PackLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.PackLauncher"
    devices: list[str] | None = (
        None  # one worker process each; null: all CUDA devices, else the CPU
    )
    max_trials: int | None = None  # of a pack; null: as many as memory holds


@dataclass
class SlurmLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.SlurmLauncher"
    cluster: str = "slurm"  # slurm | local: the same on this machine, all elements at once
    packs: int = 1  # over so many array elements work is spread, where there are as many trials
    max_trials: int | None = None  # of an array element; null: no bound
    max_requeues: int = 20  # how often an element may run out of time
    folder: str = "${hydra.sweep.dir}/submitit/%j"  # batch scripts and logs; on a file system that the nodes share
    name: str = "hapens"
    timeout_min: int = 240
    signal_delay_s: int = (
        120  # before the time is up checkpoints are written and the element goes back to the queue
    )
    array_parallelism: int = 256  # elements at a time
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: list[str] | None = None  # shell lines before training: module load ...
    additional_parameters: dict[str, Any] = field(
        default_factory=lambda: {"requeue": True}
    )  # any others of sbatch


@dataclass
class RayLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.RayLauncher"
    address: str | None = (
        None  # of a cluster (auto, or ray://host:10001); null: one on this machine
    )
    num_cpus: float = 1.0  # of a task
    num_gpus: float | None = (
        None  # of a task; 0.25: four tasks share a GPU; null: 1 where the cluster has any, else 0
    )
    max_trials: int | None = None  # of a task; null: no bound


for name, node in {
    "pack": PackLauncherConf,
    "slurm": SlurmLauncherConf,
    "ray": RayLauncherConf,
}.items():
    ConfigStore.instance().store(
        group="hydra/launcher", name=name, node=node, provider="hapens_bench"
    )
