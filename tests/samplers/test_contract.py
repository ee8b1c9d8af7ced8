"""Every sampler is under this contract; `cases.py` holds what each one needs for it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from hapens_bench.config import conf_dir
from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch
from hapens_bench.samplers.pool import Positives, draw_pool
from hapens_bench.training.pack import build
from tests.conftest import make_config
from tests.samplers.cases import CASES

T, U, I, D, B = 3, 40, 60, 8, 64
NAMES = sorted(path.stem for path in (conf_dir() / "sampler").rglob("*.yaml"))


def sections(name: str) -> list[dict]:
    base = make_config(f"sampler={name}", "tuned=none")["sampler"]
    keys = CASES[name][1]
    return [base | {key: values[t] for key, values in keys.items()} for t in range(T)]


@pytest.fixture(params=[(name, engine) for name in sorted(CASES) for engine in (Engine.PLAIN, Engine.NUMBA)])
def case(request):
    name, engine = request.param
    generator = torch.Generator().manual_seed(3)
    pairs = np.argwhere(np.random.default_rng(0).random((U, I)) < 0.2).astype(np.int64)
    positives = Positives(pairs, U, I, engine=engine)
    index = torch.randint(0, len(pairs), (T, B), generator=generator)
    chosen = torch.from_numpy(pairs)[index]
    batch = Batch(chosen[..., 0], chosen[..., 1], epoch=torch.tensor(1), step=torch.tensor(7), epochs=4)
    encoded = Encoded(torch.rand(T, U, D, generator=generator), torch.rand(T, I, D, generator=generator), engine)
    sampler = build(sections(name))
    pool = draw_pool(positives, batch.users, sampler.pool_size, Streams([1, 2, 3], Purpose.POOL), 0)
    rng = Streams([1, 2, 3], Purpose.SAMPLER)
    return name, sampler, batch, encoded, pool, rng, positives


def test_every_sampler_has_a_contract_and_a_docs_page():
    assert sorted(CASES) == NAMES
    docs = conf_dir().parent / "docs" / "samplers"
    if docs.is_dir():  # a wheel has no docs
        assert sorted(path.stem for path in docs.glob("*.md")) == NAMES


def test_shape_type_and_range(case):
    _, sampler, batch, encoded, pool, rng, positives = case
    items = sampler.draw(batch, encoded, pool, rng).items
    assert items.dtype == torch.int64 and items.shape[:2] == (T, B) and items.dim() == 3
    assert int(items.min()) >= 0 and int(items.max()) < I
    assert not positives.contains(batch.users[..., None], items).any(), "a train positive was drawn"
    assert not items.requires_grad


def test_the_same_streams_give_the_same_draw(case):
    _, sampler, batch, encoded, pool, rng, _ = case
    first = sampler.draw(batch, encoded, pool, rng).items
    assert torch.equal(first, sampler.draw(batch, encoded, pool, rng).items)


def test_a_trial_draws_the_same_alone_as_in_a_pack(case):
    name, sampler, batch, encoded, pool, rng, _ = case
    packed = sampler.draw(batch, encoded, pool, rng).items
    for t in range(T):
        alone = build(sections(name)[t : t + 1])
        one = slice(t, t + 1)
        part = replace(batch, users=batch.users[one], items=batch.items[one])
        vectors = Encoded(encoded.users[one], encoded.items[one], encoded.engine)
        drawn = alone.draw(part, vectors, pool[one], Streams([t + 1], Purpose.SAMPLER)).items
        assert torch.equal(drawn, packed[one])


def test_equal_to_the_slow_reference(case):
    name, sampler, batch, encoded, pool, rng, _ = case
    rule = CASES[name][0]
    items = sampler.draw(batch, encoded, pool, rng).items
    users, table = encoded.users.double(), encoded.items.double()
    for t, section in enumerate(sections(name)):
        for b in range(B):
            query = users[t, batch.users[t, b]]
            pos = float(query @ table[t, batch.items[t, b]])
            cand = [float(query @ table[t, j]) for j in pool[t, b]]
            assert items[t, b].tolist() == [int(pool[t, b, m]) for m in rule(pos, cand, section)]


def test_survives_pickling(case):
    _, sampler, batch, encoded, pool, rng, _ = case
    copy = pickle.loads(pickle.dumps(sampler))
    assert torch.equal(copy.draw(batch, encoded, pool, rng).items, sampler.draw(batch, encoded, pool, rng).items)


def test_ahns_with_p_minus_one_picks_the_same_for_any_alpha(case):
    _, _, batch, encoded, pool, rng, _ = case
    base = make_config("sampler=ahns", "sampler.p=-1", "sampler.M=5")["sampler"]
    drawn = [
        build([base | {"alpha": alpha}] * T).draw(batch, encoded, pool, rng).items
        for alpha in (0.0, 0.1, 1.0, 37.5, -2.0)
    ]
    assert all(torch.equal(drawn[0], other) for other in drawn[1:])


def test_dns_with_one_candidate_draws_as_rns(case):
    _, _, batch, encoded, _, rng, positives = case
    one = draw_pool(positives, batch.users, 1, Streams([1, 2, 3], Purpose.POOL), 11)
    dns = build([make_config("sampler=dns", "sampler.M=1")["sampler"]] * T)
    rns = build([make_config("sampler=rns")["sampler"]] * T)
    assert torch.equal(dns.draw(batch, encoded, one, rng).items, rns.draw(batch, encoded, one, rng).items)
