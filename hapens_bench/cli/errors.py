"""What a command does with errors: one sentence for the user's, and an exit code for each kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from hapens_bench.config.mistakes import is_mistake, sentence
from hapens_bench.errors import TrialFailed
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
