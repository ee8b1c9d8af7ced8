"""Adds the user's own folder of YAML files to the places where Hydra looks for choices."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from hapens_bench.config.paths import user_conf_dir


class UserConfigs(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if user_conf_dir().is_dir():
            search_path.append("hapens_bench", f"file://{user_conf_dir().absolute()}")
