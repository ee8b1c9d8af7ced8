"""The command line: `hapens train|data|table|figure|choose|tune|push`; `python -m hapens_bench` is `hapens train`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hapens_bench import __version__
from hapens_bench.config import conf_dir, plain
from hapens_bench.errors import UserError, needs
from hapens_bench.termination import Terminated


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a trial that failed, 2 a mistake in what was typed, 75 to be started again (SIGTERM)."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        return train(argv[1:])
    from hapens_bench.analysis import commands as analysis
    from hapens_bench.analysis import runs
    from hapens_bench.data import commands as data
    from hapens_bench.tracking import push
    from hapens_bench.tune import commands as tune

    parser = argparse.ArgumentParser(prog="hapens", description="Compare negative samplers, honestly and fast.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("train", help="train trials; takes Hydra overrides (see: hapens train --help)")
    data.add_parser(commands)
    analysis.add_parser(commands)
    runs.add_parser(commands)
    push.add_parser(commands)
    tune.add_parser(commands)
    arguments = parser.parse_args(argv)
    return guarded(lambda: arguments.run(arguments))


def train(argv: list[str]) -> int:
    """Hand the overrides to Hydra and train."""
    sys.argv = ["hapens train", *with_keys_of_swept_groups(argv)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors, and `guarded` turns them into one sentence

    mistakes: list[Exception] = []  # of a single run: kept from Hydra, which would print them in its own way first

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    def run(config: DictConfig) -> float | None:
        from hapens_bench.launch.pack import run_single
        from hapens_bench.training.trial import TrialFailed

        try:
            return run_single(plain(config), list(HydraConfig.get().overrides.task))
        except (UserError, TrialFailed) as error:
            if HydraConfig.get().mode != RunMode.RUN:
                raise
            mistakes.append(error)
            return float("nan")

    def run_and_tell() -> None:
        try:
            run()
        except (ValueError, TypeError) as error:  # what Hydra has no exception of its own for: sampler=1, model=[1]
            if not raised_in_hydra(error):
                raise
            raise UserError(f"Hydra cannot compose this command: {error}") from None
        if mistakes:
            raise mistakes[0]

    return guarded(run_and_tell)


def with_keys_of_swept_groups(argv: list[str]) -> list[str]:
    """Make `sampler.M=8` beside `sampler=dns,sdns` a sweep over one value.

    Before a sweep Hydra composes what is not swept, with the default sampler, which need not have that key.
    """
    if not {"-m", "--multirun"} & set(argv):
        return argv
    parser = OverridesParser.create()
    try:
        parsed = [parser.parse_override(text) if re.match(r"\w[^=]*=.", text) else None for text in argv]
    except HydraException:  # which Hydra itself tells better
        return argv
    swept = {override.key_or_group for override in parsed if override and override.is_sweep_override()}
    return [
        "{}=choice({})".format(*text.split("=", 1))
        if override and not override.is_sweep_override() and override.key_or_group.partition(".")[0] in swept
        else text
        for text, override in zip(argv, parsed, strict=True)
    ]


def raised_in_hydra(error: Exception) -> bool:
    """Tell whether an error comes from Hydra's own code, not from what it called."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith("hydra.")


def guarded(command: Callable[[], Any]) -> int:
    """Run a command and turn the errors that a user can mend into one sentence."""
    from hapens_bench.training.trial import TrialFailed

    try:
        result = command()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Terminated as asked:
        print("terminated; the same command goes on from here", file=sys.stderr)
        return int(asked.code or 0)
    except BrokenPipeError:  # `hapens runs list | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TrialFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def sentence(error: Exception) -> str:
    """Say in one line what was wrong with the configuration and what is allowed."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        if error.missing_cfg_file == "hydra/launcher/joblib":
            return needs("hydra/launcher=joblib", "hydra-joblib-launcher", "joblib")
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = error.options or sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        return f"there is no {group or 'config'} {name!r}; choose one of {', '.join(options)}"
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown:
        section = unknown[1].rpartition(".")[0] or "the config"
        return f"there is no key {unknown[1]}; add --cfg job to the command to see the keys of {section}"
    return " ".join(text.split("Config search path")[0].split())


if __name__ == "__main__":
    sys.exit(main())
