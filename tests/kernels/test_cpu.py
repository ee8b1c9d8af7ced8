"""The compiled loops against the plain path, value by value and gradient by gradient."""

import os
import re
import subprocess
import sys

import numba
import pytest
import torch
from torch import nn

from hapens_bench.kernels import Engine, cpu, gradients, pick_engine
from hapens_bench.models.base import Encoded
from hapens_bench.training.adam import PackAdam

T, U, I, B, K = 3, 40, 30, 64, 2


def batch(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(0, U, (T, B), generator=generator)
    items = torch.randint(0, I, (T, B, K + 1), generator=generator)
    return users, items[..., 0], items[..., 1:]


def tables(D: int):
    generator = torch.Generator().manual_seed(D)
    return torch.randn(T, U, D, generator=generator), torch.randn(T, I, D, generator=generator)


def results(engine, D, leaf):
    """Return scores and gradients of a function of them, on leaf or computed tables."""
    users, items = (nn.Parameter(table) for table in tables(D))
    encoded = Encoded(users, items, engine) if leaf else Encoded(2 * users, 2 * items, engine)
    index = batch()
    positive, negative, squares = encoded.pairs(*index)
    ((negative - positive[..., None]).sigmoid().sum() + 0.3 * squares.mean()).backward()
    return positive, negative, squares, encoded.score(index[0], index[2]), users.grad, items.grad


@pytest.mark.parametrize("D", [1, 7, 64])
@pytest.mark.parametrize("leaf", [True, False])
def test_pairs_and_their_gradients_equal_the_plain_path(D, leaf):
    for mine, plain in zip(
        results(Engine.NUMBA, D, leaf), results(Engine.PLAIN, D, leaf), strict=True
    ):
        assert mine.shape == plain.shape and torch.allclose(mine, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("leaf", [True, False])
def test_rows_and_their_gradients_equal_the_plain_path_and_keep_their_bits_alone(leaf):
    users, negatives = batch()[0], batch()[2]

    def looked_up(engine, trials):
        tables_ = [nn.Parameter(table[trials]) for table in tables(7)]
        encoded = Encoded(*(tables_ if leaf else [2 * table for table in tables_]), engine)
        q, w = encoded.query(users[trials]), encoded.item(negatives[trials])
        (q[..., None, :] * w).sigmoid().sum().backward()
        return q, w, *(table.grad for table in tables_)

    whole = looked_up(Engine.NUMBA, slice(None))
    for mine, plain in zip(whole, looked_up(Engine.PLAIN, slice(None)), strict=True):
        assert mine.shape == plain.shape and torch.allclose(mine, plain, rtol=1e-5, atol=1e-5)
    assert all(
        torch.equal(a, p[1:2])
        for a, p in zip(looked_up(Engine.NUMBA, slice(1, 2)), whole, strict=True)
    )


@pytest.mark.parametrize("leaf", [True, False])
def test_factors_and_norms_of_other_tables_equal_the_plain_path_and_keep_their_bits(leaf):
    factors, index = torch.randn(T, 1, 7, generator=torch.Generator().manual_seed(1)), batch()

    def found(engine, trials):
        """As in GMF: queries have a factor, and the norms are of vectors without it."""
        factor, users, items = (nn.Parameter(x[trials]) for x in (factors, *tables(7)))
        own, at = (users, items) if leaf else (2 * users, 2 * items), [x[trials] for x in index]
        encoded = Encoded(*own, engine, factor=factor)
        out = encoded.pairs(*at, Encoded(*own, engine))
        ((out[1] - out[0][..., None]).sigmoid().sum() + 0.3 * out[2].sum()).backward()
        return (
            *out,
            encoded.pairs(*at)[2],
            encoded.score(at[0], at[2]),
            factor.grad,
            users.grad,
            items.grad,
        )

    whole = found(Engine.NUMBA, slice(None))
    for mine, plain in zip(whole, found(Engine.PLAIN, slice(None)), strict=True):
        assert mine.shape == plain.shape and torch.allclose(mine, plain, rtol=1e-5, atol=1e-5)
    assert all(
        torch.equal(a, p[1:2]) for a, p in zip(found(Engine.NUMBA, slice(1, 2)), whole, strict=True)
    )
    factor, (users, items) = factors, tables(7)
    queries = (factor * users) if leaf else (factor * 2 * users)
    same = Encoded(queries, items if leaf else 2 * items)
    assert torch.allclose(same.score(index[0], index[2]), whole[4], atol=1e-4)


def test_gradients_of_two_uses_add_up():
    users, items = (nn.Parameter(table) for table in tables(4))
    index = batch()
    once = torch.autograd.grad(Encoded(users, items).pairs(*index)[2].sum(), users)[0]
    for _ in range(2):
        Encoded(users, items, Engine.NUMBA).pairs(*index)[2].sum().backward()
    assert torch.allclose(users.grad, 2 * once, rtol=1e-5)


def test_results_do_not_depend_on_the_number_of_threads():
    by_threads = []
    for threads in (1, 2):
        cpu.set_threads(threads)
        by_threads.append(results(Engine.NUMBA, 64, leaf=True))
    assert all(torch.equal(one, two) for one, two in zip(*by_threads, strict=True))


def test_a_trial_has_the_same_bits_alone():
    users, items = tables(64)
    index = batch()
    packed = Encoded(users, items, Engine.NUMBA).pairs(*index)
    for t in range(T):
        trial = slice(t, t + 1)
        alone = Encoded(users[trial], items[trial], Engine.NUMBA).pairs(*[x[trial] for x in index])
        assert all(torch.equal(a, p[trial]) for a, p in zip(alone, packed, strict=True))


def test_adam_clears_the_gradient_and_moves_rows_without_one():
    param = nn.Parameter(torch.ones(2, 5, 3))
    adam = PackAdam([param], torch.tensor([0.1, 0.01]).view(-1, 1, 1), engine=Engine.NUMBA)
    param.grad = torch.zeros_like(param)
    param.grad[:, 0] = 1
    adam.step()
    assert not param.grad.any()
    after = param.detach().clone()
    adam.step()  # momentum goes on
    assert (param[:, 0] < after[:, 0]).all() and torch.equal(param[:, 1:], after[:, 1:])


@pytest.mark.parametrize("n", [5, 8, 1001])
def test_adam_has_the_same_bits_whatever_the_threads_and_the_pack(n):
    generator = torch.Generator().manual_seed(n)
    start, grads = (
        torch.randn(3, n, 1, generator=generator),
        torch.randn(20, 3, n, 1, generator=generator),
    )

    def after(trials, threads):
        cpu.set_threads(threads)
        param = nn.Parameter(start[trials].clone())
        adam = PackAdam([param], torch.tensor(0.01).expand(len(param), 1, 1), engine=Engine.NUMBA)
        for grad in grads:
            param.grad = grad[trials].clone()
            adam.step()
        return param.detach()

    whole = after(slice(None), 2)
    assert torch.equal(whole, after(slice(None), 1))
    assert all(
        torch.equal(whole[t : t + 1], after(slice(t, t + 1), threads))
        for t in range(3)
        for threads in (1, 2)
    )


def three_steps_of_adam():
    generator = torch.Generator().manual_seed(1)
    param = nn.Parameter(torch.randn(2, 1001, 16, generator=generator))
    adam = PackAdam([param], torch.tensor([0.1, 0.01]).view(-1, 1, 1), engine=Engine.NUMBA)
    for _ in range(3):
        param.grad = torch.randn(param.shape, generator=generator)
        adam.step()
    return param.detach()


@pytest.mark.slow  # compiles every loop, twice
def test_the_process_that_compiles_computes_the_bits_of_those_that_load(tmp_path):
    lines = [
        "from tests.kernels.test_cpu import cpu, three_steps_of_adam",
        "cpu.prepare()",  # without it the first process differs
        "print(three_steps_of_adam().tolist())",
    ]

    def printed() -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and "numba cannot keep" not in done.stderr, done.stderr
        return done.stdout

    cold, warm = printed(), printed()
    version = numba.__version__.encode()
    for index in tmp_path.rglob("*.nbi"):  # as if an older numba had left them
        content = index.read_bytes()
        assert version in content
        index.write_bytes(content.replace(version, re.sub(rb"\d", b"0", version), 1))
    assert "[" in cold and cold == warm == printed()


def test_engine_of_a_device():
    assert pick_engine("auto", torch.device("cpu")) is Engine.NUMBA
    assert pick_engine("auto", torch.device("cuda")) is Engine.CUDA
    assert pick_engine("reference", torch.device("cuda")) is Engine.PLAIN


def many(engine, n_items, leaf, trials=slice(None), D=83, K=150):
    """Return scores and gradients of so many negatives that they are scored block by block.

    D = 64 + 16 + 3 takes each of the widths in which rows are read.
    """
    generator = torch.Generator().manual_seed(n_items)
    users, items = (
        nn.Parameter(torch.randn(T, n, D, generator=generator)[trials]) for n in (U, n_items)
    )
    at = torch.randint(0, U, (T, B), generator=generator)[trials]
    drawn = torch.randint(0, n_items, (T, B, K + 1), generator=generator)[trials]
    if leaf:
        encoded = ego = Encoded(users, items, engine)
    else:
        ego = Encoded(users, items, engine)
        encoded = Encoded(2 * users, 2 * items, engine)
    positive, negative, squares = encoded.pairs(at, drawn[..., 0], drawn[..., 1:], ego)
    ((negative - positive[..., None]).sigmoid().mean(-1).sum() + 0.001 * squares.sum()).backward()
    return positive, negative, squares, users.grad, items.grad


@pytest.mark.parametrize("n_items", [1, 7, 1000])
@pytest.mark.parametrize("leaf", [True, False])
def test_many_negatives_equal_the_plain_path_and_keep_their_bits(n_items, leaf):
    assert gradients.MANY <= 150
    whole = many(Engine.NUMBA, n_items, leaf)
    for mine, plain in zip(whole, many(Engine.PLAIN, n_items, leaf), strict=True):
        assert mine.shape == plain.shape and torch.allclose(mine, plain, rtol=1e-3, atol=1e-3)
    for t in range(T):
        alone = many(Engine.NUMBA, n_items, leaf, slice(t, t + 1))
        assert all(torch.equal(a, p[t : t + 1]) for a, p in zip(alone, whole, strict=True))
    cpu.set_threads(1)
    single = many(Engine.NUMBA, n_items, leaf)
    cpu.set_threads(2)
    assert all(torch.equal(a, p) for a, p in zip(single, whole, strict=True))


@pytest.mark.parametrize("n_items", [1, 2, 15, 16, 1000, 41_000, 10**6, 10**7])
def test_blocks_are_many_enough_for_threads_and_few_enough_for_rows(n_items):
    blocks = ((n_items - 1) >> gradients.block_bits(n_items)) + 1
    assert min(n_items, 16) <= blocks <= 128
