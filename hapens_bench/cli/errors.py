"""What a command does with errors: a mistake of the user's is one sentence, and the exit code says what it was."""

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
    """Run a command and turn the errors that a user can mend into one sentence."""
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
    except Exception as error:
        if not is_mistake(error):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def is_mistake(error: Exception) -> bool:
    """Tell whether an error is what the user asked for, which Hydra and OmegaConf say in their own classes.

    They are imported here only: a command that goes well need not have them.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, (UserError, HydraException, OmegaConfBaseException))


def sentence(error: Exception) -> str:
    """Say in one line what was wrong with the configuration and what is allowed."""
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
        return f"there is no key {unknown[1]}; add --cfg job to the command to see the keys of {section}"
    return " ".join(text.split("Config search path")[0].split())
