"""The few lines by which Hydra finds the launcher: `hydra/launcher=pack`."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hapens_bench.launch.pack import launch


class PackLauncher(Launcher):
    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        def compose(overrides: Sequence[str]) -> DictConfig:
            return self.loader.load_sweep_config(self.config, list(overrides))

        return launch(job_overrides, compose)


@dataclass
class PackLauncherConf:
    _target_: str = "hydra_plugins.hapens_pack_launcher.launcher.PackLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="pack", node=PackLauncherConf, provider="hapens_bench")
