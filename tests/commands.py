"""Commands as a user types them, each in its own process, without two seconds of imports for each.

One process for each of pytest's imports what a command imports, runs none of it and has no thread;
every command is a fork of it, with its own folder, environment, output and exit code.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def hapens(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `python -m hapens_bench.cli` with these arguments in a folder."""
    # Another test of this process may have started W&B's service, which a command would use.
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    variables = {"HAPENS_CACHE": str(folder / "cache"), "COLUMNS": "200", **environment}
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        typed = {
            "folder": str(folder),
            "arguments": arguments,
            "environment": inherited | variables,
            "ends": [os.devnull, str(out), str(err)],
        }
        server = imported()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(typed) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@functools.cache
def imported() -> subprocess.Popen:
    """Start the process that is forked for each command."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "tests.commands"], cwd=ROOT, **pipes)


def end() -> None:
    """End that process, if it was started."""
    if imported.cache_info().currsize:
        imported().communicate()
        imported.cache_clear()


def serve() -> None:
    """Fork for each line of the input, and answer with the exit code of the command."""
    import hapens_bench.cli.train
    import hapens_bench.launch.sweep  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(folder: str, arguments: list[str], environment: dict[str, str], ends: list[str]) -> None:
    """Become the process of a command; end as an interpreter ends."""
    os.chdir(folder)
    for number, name in enumerate(ends):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.environ.clear()
    os.environ |= environment
    searched = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder, *filter(None, searched)]
    from hapens_bench.cli.main import main

    try:
        sys.exit(main(arguments))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
