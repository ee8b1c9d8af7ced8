"""The contract that every sampler is under; `cases.py` holds what each one needs for it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from hapens_bench.config.paths import conf_dir
from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Sampler
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.build import build_sampler
from tests.conftest import make_config
from tests.samplers.cases import CASES, Look

T, U, I, D, B = 3, 40, 60, 8, 64
# They remember what they earned, or how far they went.
GENERATORS = ("adv_infonce", "advir", "irgan", "irgan_minimax", "rns_as")
PAGES = sorted(path.stem for path in (conf_dir() / "sampler").rglob("*.yaml"))
NAMES = [name for name in PAGES if name != "none"]  # which draws nothing


def sections(name: str) -> list[dict]:
    base = make_config(f"sampler={name}", "tuned=none")["sampler"]
    keys = CASES[name][1]
    return [
        base | {k: v[t] if isinstance(v, list) else v for k, v in keys.items()} for t in range(T)
    ]


PAIRS = np.argwhere(np.random.default_rng(0).random((U, I)) < 0.2).astype(np.int64)


def make(configs: list[dict], seeds: list[int]):
    return build_sampler(configs, seeds, D, U, I, n_pairs=len(PAIRS))


def ready(sampler, encoded, positives):
    """Return the sampler after what comes before the first step."""
    sampler.allocate(encoded)
    sampler.start(positives)
    sampler.observe(positives)
    return sampler


def draw(case):
    """Draw, and undo what the sampler remembered of it."""
    _, sampler, batch, encoded, pool, rng, _ = case
    before = [x.clone() for x in sampler.buffers()]
    drawn = sampler.draw(batch, encoded, pool, rng)
    for x, old in zip(sampler.buffers(), before, strict=True):
        x.data.copy_(old)
    return drawn


ENGINES = (Engine.PLAIN, Engine.NUMBA)


@pytest.fixture(
    params=[(name, engine) for name in sorted(CASES) for engine in ENGINES],
    ids=lambda param: f"{param[0]}-{param[1].name.lower()}",
)
def case(request):
    return make_case(*request.param)


def make_case(name, engine):
    generator = torch.Generator().manual_seed(3)
    positives = Positives(PAIRS, U, I, engine=engine)
    index = torch.randint(0, len(PAIRS), (T, B), generator=generator)
    chosen = torch.from_numpy(PAIRS)[index]
    batch = Batch(
        chosen[..., 0], chosen[..., 1], epoch=torch.tensor(1), step=torch.tensor(7), epochs=4
    )
    encoded = Encoded(
        torch.rand(T, U, D, generator=generator), torch.rand(T, I, D, generator=generator), engine
    )
    sampler = ready(make(sections(name), [1, 2, 3]), encoded, positives)
    pool = draw_pool(positives, batch.users, sampler.pool_size, Streams([1, 2, 3], Purpose.POOL), 0)
    rng = Streams([1, 2, 3], Purpose.SAMPLER)
    return name, sampler, batch, encoded, pool, rng, positives


def test_every_sampler_has_a_contract_and_a_docs_page():
    assert sorted(CASES) == NAMES
    docs = conf_dir().parent / "docs" / "samplers"
    if docs.is_dir():  # a wheel has no docs
        assert sorted(path.stem for path in docs.glob("*.md")) == PAGES


def test_shape_type_and_range(case):
    _, sampler, batch, _, _, _, positives = case
    drawn = draw(case)
    items = drawn.items
    assert items.dtype == torch.int64 and items.shape[:2] == (T, B) and items.dim() == 3
    assert int(items.min()) >= 0 and int(items.max()) < I
    assert not positives.contains(batch.users[..., None], items).any(), "a train positive was drawn"
    assert not items.requires_grad
    assert drawn.weights is None or (
        drawn.weights.shape == items.shape and not drawn.weights.requires_grad
    )
    assert drawn.layers is None or drawn.layers.shape == (*items.shape, 1, D)
    assert drawn.extra is None or drawn.extra.shape == (T,)
    assert sampler.differentiable == (drawn.layers is not None or drawn.extra is not None)


def same(mine, theirs, trials=slice(None)):
    for x, y in zip(vars(mine).values(), vars(theirs).values(), strict=True):
        assert (x is None) == (y is None)
        assert x is None or torch.equal(x, y[trials])


def test_the_same_streams_give_the_same_draw(case):
    same(draw(case), draw(case))


def test_a_trial_draws_the_same_alone_as_in_a_pack(case):
    name, _, batch, encoded, pool, _, positives = case
    packed = draw(case)
    for t in range(T):
        trial = slice(t, t + 1)
        vectors = Encoded(encoded.users[trial], encoded.items[trial], encoded.engine)
        alone = ready(make(sections(name)[trial], [t + 1]), vectors, positives)
        batch_of_trial = replace(batch, users=batch.users[trial], items=batch.items[trial])
        same(
            alone.draw(batch_of_trial, vectors, pool[trial], Streams([t + 1], Purpose.SAMPLER)),
            packed,
            trial,
        )


def test_equal_to_the_slow_reference(case):
    name, sampler, batch, encoded, pool, rng, positives = case
    rule, drawn = CASES[name][0], draw(case)
    users, table = encoded.users.double(), encoded.items.double()
    known = [
        positives.items[positives.indptr[u] : positives.indptr[u + 1]].tolist() for u in range(U)
    ]
    for t, section in enumerate(sections(name)):
        extras, pools = [], pool[t].tolist()
        for b in range(B):
            u, i = users[t, batch.users[t, b]], table[t, batch.items[t, b]]
            look = Look(t, b, u, i, pools[b], table[t], section, batch, rng, sampler, known, pools)
            expected = rule(look)
            items = drawn.items[t, b].tolist()
            if expected.any_order:
                assert sorted(items) == sorted(expected.items)
            else:
                assert items == expected.items
            several = sampler.groups or sampler.gives_positives(section)
            assert (drawn.positives is not None) == several
            positives_of_row = drawn.positives[t, b].tolist() if several else None
            assert positives_of_row == expected.positives
            assert (expected.weights is None) == (drawn.weights is None)
            if expected.weights is not None:
                assert np.allclose(drawn.weights[t, b], expected.weights, atol=1e-5)
            assert (expected.layer is None) == (drawn.layers is None)
            if expected.layer is not None:
                assert torch.allclose(
                    drawn.layers[t, b, :, 0].double(), torch.stack(expected.layer), atol=1e-5
                )
            assert (expected.positive_layer is None) == (drawn.positive_layers is None)
            if expected.positive_layer is not None:
                mixed = drawn.positive_layers[t, b, 0].double()
                assert torch.allclose(mixed, expected.positive_layer, atol=1e-5)
            extras.append(expected.extra)
        assert (drawn.extra is None) == (extras[0] is None)
        if drawn.extra is not None:
            assert float(drawn.extra[t].detach()) == pytest.approx(sum(extras) / B, rel=1e-4)


def test_survives_pickling(case):
    _, sampler, batch, encoded, pool, rng, _ = case
    copy = pickle.loads(pickle.dumps(sampler))
    same(copy.draw(batch, encoded, pool, rng), draw(case))


def test_trained_parameters_get_gradients_and_are_kept_and_saved_by_trial(case):
    name, sampler, *_ = case
    parameters = dict(sampler.named_parameters())
    if parameters:
        drawn = draw(case)
        (drawn.extra.sum() + (0 if drawn.layers is None else drawn.layers.sum())).backward()
        assert all(
            p.shape[0] == T and p.grad is not None and p.grad.abs().sum() > 0
            for p in parameters.values()
        )
        alone = make(sections(name)[1:2], [2])
        for key, p in alone.named_parameters():
            assert torch.equal(p[0], parameters[key][1])


def test_what_a_draw_changes_is_remembered_and_nothing_else_is_in_the_state(case):
    name, sampler, batch, encoded, pool, rng, _ = case
    buffers = dict(sampler.named_buffers())
    before = {key: x.clone() for key, x in buffers.items()}
    sampler.draw(batch, encoded, pool, rng)
    sampler.close_epoch(1, encoded)
    changed = {key for key, x in buffers.items() if not torch.equal(x, before[key])}
    assert changed <= set(sampler.remembered)
    assert not set(sampler.remembered) & set(sections(name)[0]), "a hyper-parameter is remembered"
    assert bool(sampler.remembered) == (
        type(sampler).allocate is not Sampler.allocate or name in GENERATORS
    )


def table_bytes(name, U, I, each):
    """Return the bytes that sampler `name` takes, measured and declared.

    U users have `each` of I items.
    """
    pairs = np.array([[u, (u + k) % I] for u in range(U) for k in range(each)])
    encoded = Encoded(torch.zeros(T, U, D), torch.zeros(T, I, D))
    section = sections(name)
    built = build_sampler(section, [1, 2, 3], D, U, I, n_pairs=len(pairs))
    sampler = ready(built, encoded, Positives(pairs, U, I))
    held = sum(x.nbytes for x in (*sampler.parameters(), *sampler.buffers())) // T
    declared = sampler.n_bytes(section[0], D, U, I) + sampler.pair_bytes(section[0]) * len(pairs)
    return held, declared


@pytest.mark.parametrize("name", NAMES)
def test_declared_bytes_are_the_memory_of_its_tables(name):
    small, small_declared = table_bytes(name, 40, 60, each=1)
    large, large_declared = table_bytes(name, 90, 250, each=3)
    assert large - small == large_declared - small_declared, (
        "what grows with users, items or pairs is not what n_bytes and pair_bytes return"
    )
    assert small_declared <= small


def choose(encoded, batch, pool, rng, *overrides):
    """Return the items drawn with the same setting for all trials."""
    return (
        make([make_config(*overrides)["sampler"]] * T, [1, 2, 3])
        .draw(batch, encoded, pool, rng)
        .items
    )


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name.lower())
def scene(request):
    _, _, batch, encoded, _, rng, positives = make_case("rns", request.param)
    pools = {
        M: draw_pool(positives, batch.users, M, Streams([1, 2, 3], Purpose.POOL), 11)
        for M in (1, 5)
    }
    return encoded, batch, pools, rng


def test_identities(scene):
    encoded, batch, pools, rng = scene

    def drawn(*overrides, M=5, at=batch):
        return choose(encoded, at, pools[M], rng, *overrides)

    hardest = drawn("sampler=dns", "sampler.M=5")
    late, early = replace(batch, epoch=torch.tensor(3)), replace(batch, epoch=torch.tensor(0))
    rns = drawn("sampler=rns", M=1)
    assert torch.equal(drawn("sampler=dns", "sampler.M=1", M=1), rns)
    assert torch.equal(drawn("sampler=ssm", "sampler.K=1", M=1), rns)
    assert torch.equal(drawn("sampler=dns_mn", "sampler.M=1", "sampler.N=5"), hardest)
    assert torch.equal(drawn("sampler=mixgcf", "sampler.M=5"), hardest), (
        "MixGCF on MF picks what DNS picks"
    )
    assert torch.equal(drawn("sampler=dins", "sampler.M=5"), hardest)
    assert torch.equal(drawn("sampler=cuco", "sampler.M=5", at=early), hardest)
    assert torch.equal(drawn("sampler=cuco", "sampler.M=5", at=late), pools[5][..., :1]), (
        "at the end CuCo is RNS"
    )
    for alpha in (0.1, 1.0, 37.5, -2.0):
        same = drawn("sampler=ahns", "sampler.p=-1", "sampler.M=5", f"sampler.alpha={alpha}")
        assert torch.equal(
            same, drawn("sampler=ahns", "sampler.p=-1", "sampler.M=5", "sampler.alpha=0.0")
        )


def test_one_of_all_is_uniform_and_one_by_weight_follows_the_weights():
    generator = torch.Generator().manual_seed(0)
    n = 40_000
    encoded = Encoded(
        torch.rand(1, 1, D, generator=generator), torch.rand(1, I, D, generator=generator)
    )
    pool = torch.arange(6).expand(1, n, 6)
    zero = torch.tensor(0)
    batch = Batch(torch.zeros(1, n, dtype=torch.int64), torch.full((1, n), 9), zero, zero, 1)
    rng = Streams([5], Purpose.SAMPLER)

    def counts(*overrides):
        sampler = make([make_config(*overrides)["sampler"]], [5])
        return torch.bincount(sampler.draw(batch, encoded, pool, rng).items.flatten(), minlength=6)

    uniform = counts("sampler=dns_mn", "sampler.M=6", "sampler.N=6")  # DNS(N,N) is RNS
    assert stats.chisquare(uniform).pvalue > 1e-3
    section = make_config("sampler=softmax", "sampler.N=6", "sampler.rho=0.2")["sampler"]
    w = make([section], [5]).draw(batch, encoded, pool, rng).weights[0, 0].double().numpy()
    drawn = counts("sampler=softmax", "sampler.N=6", "sampler.rho=0.2", "sampler.take=one")
    assert stats.chisquare(drawn, w / w.sum() * n).pvalue > 1e-3
