"""What is told before anything heavy is imported: help, the version, a mistyped name."""

import subprocess
import sys

import pytest

from tests.analysis.synthetic import make_run

HEAVY = ("torch", "pandas", "numba", "matplotlib", "wandb")
LIMIT = 0.5  # seconds of CPU; measured: 0.03 for help, 0.3 for a mistyped sampler
PROGRAM = """
import resource, sys
from hapens_bench.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
loaded = sorted({name.partition(".")[0] for name in sys.modules} & set(%r))
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"\\nEND {code} {used.ru_utime + used.ru_stime:.3f} {','.join(loaded)}")
"""


def run(*arguments):
    command = [sys.executable, "-c", PROGRAM % (HEAVY,), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, end = done.stdout.rpartition("END ")
    code, seconds, *loaded = end.split()
    return text, done.stderr, int(code), float(seconds), loaded


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "COMMAND"),
        (["--version"], 0, "0."),
        (["tabel"], 2, "there is no command 'tabel'"),
        (["train", "sampler=dnss"], 2, "there is no sampler 'dnss'"),
        (["train", "sampler.foo=1"], 2, "there is no key sampler.foo"),
    ],
)
def test_it_is_told_at_once(arguments, code, words):
    text, errors, found, seconds, loaded = run(*arguments)
    assert found == code and words in text + errors
    assert not loaded, f"{loaded} imported"
    assert min(seconds, run(*arguments)[3]) < LIMIT


def test_runs_are_listed_without_torch(tmp_path):
    make_run(tmp_path, seed=3)
    text, errors, code, _, loaded = run("runs", "list", "--runs", str(tmp_path), "--no-archive")
    assert code == 0 and "valid_refit" in text and not errors
    assert loaded == ["pandas"]
