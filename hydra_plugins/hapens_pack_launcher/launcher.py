"""The few lines by which Hydra finds the launcher: `hydra/launcher=pack`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hapens_bench.launch.pack import launch


class PackLauncher(Launcher):
    def __init__(self, devices: Sequence[str] | None = None, max_trials: int | None = None) -> None:
        self.devices, self.max_trials = devices, max_trials

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        def compose(overrides: Sequence[str]) -> DictConfig:
            return self.loader.load_sweep_config(self.config, list(overrides))

        Path(self.config.hydra.sweep.dir).mkdir(
            parents=True, exist_ok=True
        )  # as every launcher does: sweepers write there
        return launch(job_overrides, compose, self.devices, self.max_trials)


@dataclass
class PackLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.PackLauncher"
    devices: list[str] | None = None  # one worker process each; null: all CUDA devices, else the CPU
    max_trials: int | None = None  # of a pack; null: as many as memory holds


ConfigStore.instance().store(group="hydra/launcher", name="pack", node=PackLauncherConf, provider="hapens_bench")
