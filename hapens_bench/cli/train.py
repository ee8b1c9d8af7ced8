"""`hapens train`: hand the overrides to Hydra and train; `python -m hapens_bench` is the same."""

from __future__ import annotations

import json
import os
import re
import sys

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from hapens_bench.cli.errors import guarded
from hapens_bench.config.compose import plain, refuse_chdir
from hapens_bench.config.mistakes import sentence
from hapens_bench.config.outside import of_command
from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import TrialFailed, UserError
from hapens_bench.startup import uncollected
from hapens_bench.tracking.naming import SWEEP


def train(argv: list[str]) -> int:
    """Hand the overrides to Hydra and train; return the exit code."""
    # Hydra raises its errors, and `guarded` turns them into one sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["hapens train"]  # the name in Hydra's help and usage
    # The errors of a single run are kept from Hydra, which would print them in its own way first.
    mistakes: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    def run(config: DictConfig) -> float | None:
        from hapens_bench.launch.sweep import run_single

        single = HydraConfig.get().mode == RunMode.RUN
        sweep = None if single else json.loads(os.environ.get(SWEEP, "null"))
        try:
            refuse_chdir(HydraConfig.get())
            return run_single(plain(config), list(HydraConfig.get().overrides.task), sweep)
        except (UserError, TrialFailed) as error:
            if not single:
                raise
            mistakes.append(error)
            return float("nan")

    def run_and_raise() -> None:
        of_command(argv)  # so that Python finds the classes that their configs name
        typed = with_keys_of_swept_groups(overrides_first(argv))
        sys.argv += typed
        try:
            run()
        except (ValueError, TypeError) as error:
            # Hydra has no exception of its own for sampler=1 or model=[1].
            if not raised_in_hydra(error):
                raise
            raise UserError(f"Hydra cannot compose this command: {error}") from None
        except HydraException as error:
            raise UserError(sentence(error, typed)) from None
        if mistakes:
            raise mistakes[0]

    with uncollected():
        return guarded(run_and_raise)


def overrides_first(argv: list[str]) -> list[str]:
    """Put the overrides before the options: Hydra's parser takes them in one place only.

    Raises:
        UserError: for an option that there is not.
    """
    known, unknown = get_args_parser().parse_known_intermixed_args(argv)
    if unknown:
        raise UserError(f"there is no option {unknown[0]}; see hapens train --help")
    options = list(argv)
    for override in known.overrides:
        options.remove(override)
    return [*known.overrides, *options]


def with_keys_of_swept_groups(argv: list[str]) -> list[str]:
    """Turn `sampler.M=8` beside `sampler=dns,sdns` into a sweep over one value.

    Hydra first composes what is not swept with the default sampler, which may lack the key.
    """
    if not {"-m", "--multirun"} & set(argv):
        return argv
    parser = OverridesParser.create()
    try:
        parsed = [
            parser.parse_override(text) if re.match(r"\w[^=]*=.", text) else None for text in argv
        ]
    except HydraException:  # Hydra's own message is better
        return argv
    swept = {
        override.key_or_group for override in parsed if override and override.is_sweep_override()
    }
    return [
        "{}=choice({})".format(*text.split("=", 1))
        if override
        and not override.is_sweep_override()
        and override.key_or_group.partition(".")[0] in swept
        else text
        for text, override in zip(argv, parsed, strict=True)
    ]


def raised_in_hydra(error: Exception) -> bool:
    """Whether an error comes from Hydra's own code, not from what it called."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith("hydra.")
