"""Untrusted files are safe to open.

Nothing in the package runs or extracts their content, or fetches a file without verifying it. Two
related tests are elsewhere: the report escapes every string (tests/analysis/test_report_input.py),
and only https is downloaded from (tests/data/test_sources.py).
"""

import ast
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import hapens_bench
from hapens_bench.config.paths import conf_dir
from hapens_bench.data import readers
from hapens_bench.errors import UserError
from hapens_bench.runs.folder import RunFolder

PACKAGE = Path(hapens_bench.__file__).parent
UNPICKLES = PACKAGE / "data" / "unpickling.py"  # the only one; see tests/data/test_unpickling.py
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN = {
    "eval",
    "exec",
    "read_pickle",
    "to_pickle",
    "extractall",
    "extract",
    "unpack_archive",
    "urlopen",
    "urlretrieve",
}
FORBIDDEN |= {"os.system", "np.fromfile", "yaml.load", "yaml.unsafe_load"}


def unsafe(source: str) -> list[str]:
    """Return what a module does that would trust a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module)]
            )
            found += [name for name in names if name.split(".")[0] in RUNS_CODE]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {key.arg: ast.unparse(key.value) for key in node.keywords}
            if name == "torch.load" and given.get("weights_only") != "True":
                found.append(ast.unparse(node))
            if name == "np.load" and given.get("allow_pickle") != "False":
                found.append(ast.unparse(node))
            if (
                name in FORBIDDEN
                or (name.rpartition(".")[2] in FORBIDDEN and "." in name)
                or given.get("shell") == "True"
            ):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(p)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "a.extractall(p)",
        "pd.read_pickle(p)",
        "eval(text)",
        "yaml.load(text)",
        "run(text, shell=True)",
        "torch.load(p, weights_only=False)",
    ],
)
def test_the_search_finds_what_is_unsafe(line):
    assert unsafe(line) and not unsafe(
        "torch.load(p, weights_only=True)\nnp.load(p, allow_pickle=False)\nmodel.eval"
    )


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_module_trusts_a_file(path):
    assert unsafe(path.read_text()) == (["pickle"] if path == UNPICKLES else [])


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_checkpoint_and_an_archive_with_code_in_them_run_nothing(tmp_path):
    folder, mark = RunFolder(tmp_path / "run"), tmp_path / "mark"
    folder.path.mkdir()
    torch.save({"progress": Trap(mark)}, folder.path / "checkpoint.pt")
    assert folder.load_checkpoint() is None
    np.savez(tmp_path / "log.npz", user=np.array([Trap(mark)], dtype=object), item=[1], time=[1])
    with pytest.raises(UserError, match="not a readable npz"):
        readers.events({"log": tmp_path / "log.npz"})
    assert not mark.exists()


def test_yaml_makes_no_objects(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"a: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'mark'}]\n")
    with pytest.raises(Exception, match="could not determine a constructor"):
        OmegaConf.load(path)


def test_a_member_of_an_archive_is_read_and_never_written(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with zipfile.ZipFile(inner / "log", "w") as archive:
        archive.writestr("../../ratings.dat", "1::2::3::4\n")
    assert len(readers.movielens({"log": inner / "log"})) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "log"]


def test_gpu_tests_stand_in_their_own_folder():
    """`pytest -m gpu` collects no other folder: see tests/conftest.py."""
    tests = [path for path in Path(__file__).parent.rglob("test_*.py") if path != Path(__file__)]
    assert not [
        path for path in tests if path.parent.name != "gpu" and "mark.gpu" in path.read_text()
    ]
    assert all(
        "pytestmark = marks" in path.read_text() for path in tests if path.parent.name == "gpu"
    )


def test_every_address_is_https():
    files = [
        file
        for path in (conf_dir() / "dataset").glob("*.yaml")
        for source in (OmegaConf.to_container(OmegaConf.load(path)).get("sources") or {}).values()
        for file in source["files"].values()
    ]
    assert len(files) > 10
    assert all(file["url"].startswith("https://") for file in files if file.get("url"))
