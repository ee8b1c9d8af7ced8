"""The contract of every model; `cases.py` has the case of each one."""

import numpy as np
import pytest
import torch

from hapens_bench.config.components import component_class
from hapens_bench.config.paths import conf_dir
from hapens_bench.kernels import Engine, cpu
from hapens_bench.models.dropout import Noise
from hapens_bench.models.graph import Graph
from hapens_bench.rng import Purpose, Streams
from hapens_bench.training.build import build
from tests.conftest import make_config
from tests.models.cases import CASES, Toy
from tests.models.test_fitted import CASES as FITTED

T, U, I, D, STEP = 3, 14, 11, 16, 6
SEEDS = [11, 12, 13]


def toy_pairs() -> np.ndarray:
    """Pairs of users 0 .. U - 2 and items 0 .. I - 2: the last of each has no neighbour."""
    return np.argwhere(np.random.default_rng(0).random((U - 1, I - 1)) < 0.35).astype(np.int64)


PAIRS = toy_pairs()


def sections(name: str) -> list[dict]:
    model, _, keys = CASES[name]
    base = make_config(f"model={model}", f"model.D={D}")["model"]
    return [
        base | {k: v[t] if isinstance(v, list) else v for k, v in keys.items()} for t in range(T)
    ]


def make(name: str, engine: Engine, trials: slice = slice(None), size=(U, I), pairs=PAIRS):
    configs = sections(name)[trials]
    given = (
        {"graph": Graph(pairs, *size, engine=engine)}
        if component_class(configs[0]).uses_graph
        else {}
    )
    model = build(configs, seeds=SEEDS[trials], n_users=size[0], n_items=size[1], **given)
    model.engine = engine
    return model


def noise(trials: slice = slice(None), step: int = STEP) -> Noise:
    return Noise(Streams(SEEDS[trials], Purpose.DROPOUT), torch.tensor(step))


@pytest.fixture(
    params=[(name, engine) for name in sorted(CASES) for engine in (Engine.PLAIN, Engine.NUMBA)]
)
def case(request):
    return request.param


def everything(encoded):
    """Return all vectors of a model: pooled and of each layer, users above items."""
    tables = [(encoded.queries, encoded.items), *encoded.layers]
    return [torch.cat(pair, 1) for pair in tables]


def objective(tables):
    """Return a sum in which every entry has its own coefficient.

    It is made of products, which round alike everywhere.
    """
    generator, total = torch.Generator().manual_seed(1), 0
    for table in tables:
        coefficient = torch.randn(table.shape[-2:], generator=generator).to(table.dtype)
        total = total + (coefficient * table).sum() + (table * table * table).sum()
    return total


def run(model, how):
    tables = everything(model.encode(how))
    objective(tables).backward()
    return tables, {name: p.grad.clone() for name, p in model.named_parameters()}


def test_every_model_has_a_contract_and_a_place_in_the_docs():
    names = sorted(path.stem for path in (conf_dir() / "model").rglob("*.yaml"))
    assert sorted({*FITTED, *(model for model, _, _ in CASES.values())}) == names
    page = conf_dir().parent / "docs" / "models.md"
    if page.is_file():  # a wheel has no docs
        assert all(f"`model={name}`" in page.read_text() for name in names)


@pytest.mark.parametrize("training", [False, True])
def test_vectors_and_gradients_equal_a_dense_float64_version(case, training):
    name, engine = case
    model = make(name, engine)
    tables, gradients = run(model, noise() if training else None)
    assert all(table.shape[:2] == (T, U + I) for table in tables)
    for t, section in enumerate(sections(name)):
        own = {key: p.detach()[t].double().requires_grad_() for key, p in model.named_parameters()}
        toy = Toy(own, PAIRS, U, I, section, SEEDS[t], STEP if training else None)
        pooled, layers = CASES[name][1](toy)
        expected = [pooled, *layers] if len(tables) > 1 else [pooled]
        assert len(expected) == len(tables)
        for mine, slow in zip(tables, expected, strict=True):
            assert torch.allclose(mine[t].double(), slow, atol=2e-6)
        objective([table[None] for table in expected]).backward()
        for key, p in own.items():
            assert torch.allclose(gradients[key][t].double(), p.grad, rtol=1e-4, atol=1e-5), key


def test_a_trial_has_the_same_bits_alone_as_in_a_pack(case):
    name, engine = case
    packed, gradients = run(make(name, engine), noise())
    for t in range(T):
        trial = slice(t, t + 1)
        alone, own = run(make(name, engine, trial), noise(trial))
        assert all(torch.equal(a, p[trial]) for a, p in zip(alone, packed, strict=True))
        assert all(torch.equal(own[key], gradients[key][trial]) for key in gradients)


def test_parameters_come_from_the_seed_and_have_the_trial_axis(case):
    name, engine = case
    model, again = make(name, engine), make(name, engine, slice(1, 2))
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        drawn = mine.unique().numel() > 1  # else a constant, such as ENMF's first w
        assert (
            mine.shape[0] == T
            and torch.equal(mine[1:2], other)
            and torch.equal(mine[0], mine[1]) != drawn
        )


def test_dropout_and_noise_follow_the_step_and_only_a_training_step_has_them(case):
    name, engine = case
    model = make(name, engine)
    (before, _), (after, _) = (run(model, noise(step=step)) for step in (3, 4))
    still = everything(model.encode())
    for t, section in enumerate(sections(name)):
        rates = [rate for key, rate in section.items() if key == "eps" or "_dropout" in key]
        assert torch.equal(before[0][t], after[0][t]) != any(rates)
        assert torch.equal(before[0][t], still[0][t]) != any(rates)


@pytest.mark.parametrize("name", sorted(CASES))
def test_bits_do_not_depend_on_the_number_of_threads(name):
    pairs, found = np.argwhere(np.random.default_rng(1).random((900, 700)) < 0.02), []
    for threads in (1, 2):
        cpu.set_threads(threads)
        found.append(run(make(name, Engine.NUMBA, size=(900, 700), pairs=pairs), noise()))
    (tables, gradients), (others, theirs) = found
    assert all(torch.equal(trial, two) for trial, two in zip(tables, others, strict=True))
    assert all(torch.equal(gradients[key], theirs[key]) for key in gradients)


@pytest.mark.parametrize("name", sorted(CASES))
def test_squares_are_of_what_the_variant_regularises(name):
    model = make(name, Engine.NUMBA)
    encoded = model.encode()
    users, items = torch.tensor([[0, 3]] * T), torch.tensor([[2, 1]] * T)
    squares = model.ego(encoded).pairs(users, items, items[..., None])[2]
    final = sections(name)[0].get("variant") == "authors"
    table = (encoded.users, encoded.items) if final else (model.user, model.item)
    expected = (table[0][:, [0, 3]].square().sum(-1) + 2 * table[1][:, [2, 1]].square().sum(-1)) / 2
    assert torch.allclose(squares, expected)
    layers = torch.stack(
        [layer[1][:, [2, 1]] for layer in encoded.layers] or [model.item[:, [2, 1]]], -2
    )[:, :, None]
    assert torch.allclose(encoded.synthesised(users, items, layers, model.ego(encoded))[2], squares)
    assert torch.allclose(
        encoded.synthesised(users, items, layers, model.ego(encoded))[1][..., 0],
        encoded.score(users, items[..., None])[..., 0],
        atol=1e-6,
    )


def test_lightgcn_without_layers_is_mf():
    mf = make("mf", Engine.NUMBA).encode()
    section = make_config("model=lightgcn", "model.L=0", f"model.D={D}")["model"]
    graph = Graph(PAIRS, U, I, engine=Engine.NUMBA)
    none = build([section] * T, seeds=SEEDS, n_users=U, n_items=I, graph=graph).encode()
    assert torch.equal(none.users, mf.users) and torch.equal(none.items, mf.items)


def test_trials_folded_into_features_give_the_products_of_each():
    """The path of a GPU, on a CPU."""
    graph, plain = Graph(PAIRS, U, I, engine=Engine.CUDA), Graph(PAIRS, U, I)
    users, items = torch.randn(T, U, D), torch.randn(T, I, D)
    for weights in (graph.symmetric(), graph.row_normalised()):
        mine, theirs = (
            graph.propagate(users, items, weights),
            plain.propagate(users, items, weights),
        )
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(mine, theirs, strict=True))


def test_normal_initial_values_have_their_deviation():
    section = make_config("model=lightgcn", "model.init=normal", "model.D=16")["model"]
    both = [section, section | {"std": 1}]
    graph = Graph(PAIRS, 2000, 3000)
    model = build(both, seeds=[1, 2], n_users=2000, n_items=3000, graph=graph)
    for trial, std in enumerate((0.1, 1.0)):
        for table in (model.user.detach()[trial] / std, model.item.detach()[trial] / std):
            assert abs(float(table.std()) - 1) < 0.02 and abs(float(table.mean())) < 0.02
            assert 3 < float(table.abs().max()) < 7 and table.isfinite().all()
            assert abs(float((table.abs() < 1).float().mean()) - 0.6827) < 0.01
