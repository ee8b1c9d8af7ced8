"""What a command does with errors: one sentence for the user's, and an exit code for each kind."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

from hapens_bench.config.paths import conf_dir
from hapens_bench.errors import TrialFailed, UserError, needs
from hapens_bench.termination import Terminated


def guarded(command: Callable[[], Any]) -> int:
    """Run a command, print an error that the user can fix as one sentence, return the exit code."""
    try:
        result = command()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Terminated as asked:
        print("terminated; the same command goes on from here", file=sys.stderr)
        return int(asked.code or 0)
    except BrokenPipeError:  # `hapens runs list | head`: the reader is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TrialFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if not is_mistake(error):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def is_mistake(error: Exception) -> bool:
    """Whether an error is the user's, which Hydra and OmegaConf raise in classes of their own.

    They are imported only here: a command that succeeds does not need them.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, (UserError, HydraException, OmegaConfBaseException))


def sentence(error: Exception) -> str:
    """Return one line on what is wrong with the configuration and what is allowed."""
    from hydra.errors import MissingConfigException

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
        return (
            f"there is no key {unknown[1]}; "
            f"add --cfg job to the command to see the keys of {section}"
        )
    return " ".join(text.split("Config search path")[0].split())
