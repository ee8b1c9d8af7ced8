"""SLURM in one file, as far as submitit needs it: array elements run at once, on this machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

JOB = "12"


def install(folder: Path) -> None:
    """Write the commands into a folder, to be named in PATH."""
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        path.chmod(0o755)


def start(script: str, element: str, restarts: int) -> None:
    here = {
        "SLURM_JOB_ID": JOB,
        "SLURM_ARRAY_JOB_ID": JOB,
        "SLURM_ARRAY_TASK_ID": element,
        "SLURM_PROCID": "0",
    }
    here |= {"SLURM_RESTART_COUNT": str(restarts), "FAKE_SCRIPT": script}
    none = subprocess.DEVNULL
    subprocess.Popen(
        ["bash", script],
        env={**os.environ, **here},
        stdout=none,
        stderr=none,
        start_new_session=True,
    )


def sbatch(script: str) -> None:
    array = re.search(r"--array=0-(\d+)", Path(script).read_text())
    kept = Path(script).with_name("kept.sh")
    kept.write_text(Path(script).read_text())
    for element in range(int(array[1]) + 1 if array else 1):
        start(str(kept), str(element), 0)
    print(f"Submitted batch job {JOB}")


def srun(*arguments: str) -> None:
    options = list(arguments)
    while options[0].startswith("--"):
        option = options.pop(0)
        if option in ("--output", "--error"):
            place = (
                options.pop(0)
                .replace("%A", JOB)
                .replace("%a", os.environ["SLURM_ARRAY_TASK_ID"])
                .replace("%t", "0")
            )
            Path(place).parent.mkdir(exist_ok=True)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 1 if option == "--output" else 2)
    os.execvp(options[0], options)


def sacct(*arguments: str) -> None:
    print("JobID|State|NodeList")


def scontrol(verb: str, job: str) -> None:
    assert verb == "requeue"
    start(
        os.environ["FAKE_SCRIPT"], job.partition("_")[2], int(os.environ["SLURM_RESTART_COUNT"]) + 1
    )


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scontrol": scontrol}[sys.argv[1]](
        *sys.argv[2:]
    )
