"""How many variants of each compiled function a plausible sweep needs.

Torch stops compiling a function at a limit.
"""

import collections
import contextlib

import pytest
import torch

from hapens_bench.kernels import RECOMPILE_LIMIT, Engine, compiled
from hapens_bench.launch.job import load_split
from hapens_bench.training import epoch
from hapens_bench.training.capture import CaptureFailed
from hapens_bench.training.stage import Stage
from tests.conftest import make_config
from tests.samplers.cases import CASES as SAMPLERS
from tests.training.emulated import COMPILING
from tests.training.test_emulated import SCRATCH

SHAPES = {  # other lengths of rows, numbers of items and ways to look up what is known
    "small": ["dataset.users=80", "dataset.items=300"],
    "wide": ["dataset.users=90", "dataset.items=2000"],
    "long rows": ["dataset.users=300", "dataset.items=600", "trainer.bitmap_mb=0"],
}
MODELS = {
    "gmf": ["model.user_dropout=0.1"],
    "lightgcn": ["model.message_dropout=0.2", "model.node_dropout=0.2"],
}


@pytest.fixture
def counts(monkeypatch):
    """Count the variants compiled (without code generation) when a CPU trains like a GPU."""
    variants, made = collections.Counter(), {}

    def compile_once(function):
        def backend(graph, inputs):
            variants[function.__name__] += 1
            return graph.forward

        if function not in made:
            torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
            made[function] = torch.compile(function, dynamic=True, backend=backend)
        return made[function]

    def record(step, device):
        raise CaptureFailed("there is no CUDA here")

    for module in COMPILING:
        monkeypatch.setattr(f"{module}.compiled", compile_once)
    monkeypatch.setattr("hapens_bench.training.stage.pick_engine", lambda name, device: Engine.CUDA)
    monkeypatch.setattr(epoch, "warm_up", lambda step, device: step())
    monkeypatch.setattr(epoch, "record", record)
    torch._dynamo.reset()
    yield variants
    torch._dynamo.reset()


def sweep():
    """Yield all samplers on MF, and DNS on models that compile more: each shape, T = 1 and 8."""
    ways = [[f"sampler={name}", *SCRATCH.get(name, [])] for name in SAMPLERS]
    ways += [["sampler=dns", f"model={model}", *how] for model, how in MODELS.items()]
    for shape in SHAPES.values():
        for way in ways:
            for T in (1, 8):
                yield [*shape, *way, "trainer.batch_size=64", "trainer.epochs=2", "tuned=none"], T


def test_a_plausible_sweep_stays_far_below_the_limit(counts, tmp_path):
    for overrides, T in sweep():
        configs = [
            make_config(*overrides, f"paths.cache={tmp_path}", f"seed={t}") for t in range(T)
        ]
        stage = Stage("full", configs[0], load_split(configs[0]), torch.device("cpu"))
        with contextlib.redirect_stderr(None):
            stage.loop(stage.pack(configs))
    print(dict(counts))
    assert set(counts) == {"_draw_everywhere", "_gather_dot", "_mask", "_update"}
    assert max(counts.values()) <= RECOMPILE_LIMIT // 3, dict(counts)


def test_the_limit_of_torch_is_raised_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    compiled.cache_clear()
    compiled(lambda x: x + 1)
    assert torch._dynamo.config.recompile_limit == RECOMPILE_LIMIT
