import numpy as np
import torch
from scipy import stats

from hapens_bench.rng import Purpose, Streams, mix, scale_below, stream_key, to_below

MASK = (1 << 64) - 1


def slow_mix(x: int) -> int:
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_mix_equals_splitmix64_on_python_integers():
    words = [0, 1, 2, -1, 2**63 - 1, -(2**63), 123456789]
    got = mix(torch.tensor(words, dtype=torch.int64)).tolist()
    assert [g & MASK for g in got] == [slow_mix(w) for w in words]


def test_first_outputs_of_splitmix64_with_seed_zero():
    # The well-known test vector of SplitMix64 seeded with 0 starts at counter 1.
    streams = Streams([0], Purpose.INIT)
    streams.keys[:] = 0
    got = [g & MASK for g in streams.bits(1, 3)[0].tolist()]
    assert got == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_a_draw_depends_on_its_coordinates_only():
    packed = Streams([5, 6, 7], Purpose.POOL)
    alone = Streams([6], Purpose.POOL)
    assert torch.equal(packed.bits(1000, 8, 4)[1], alone.bits(1000, 8, 4)[0])
    assert torch.equal(alone.bits(0, 100)[:, 40:60], alone.bits(40, 20))
    packed.keep(torch.tensor([1]))
    assert torch.equal(packed.keys, alone.keys)


def test_streams_differ_by_seed_and_purpose():
    keys = {stream_key(seed, purpose) for seed in range(100) for purpose in Purpose}
    assert len(keys) == 100 * len(Purpose)


def test_uniform_numbers_are_uniform():
    draws = Streams([3], Purpose.INIT).uniform(0, 200_000)[0].numpy()
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 1e-3


def test_integers_below_n_are_uniform_and_in_range():
    bits = Streams([4], Purpose.POOL).bits(0, 500_000)[0]
    for n in (1, 2, 7, 1000):
        draws = to_below(bits, n, scale_below(n)).numpy()
        assert draws.min() >= 0 and draws.max() < n
        if n > 1:
            assert stats.chisquare(np.bincount(draws, minlength=n)).pvalue > 1e-3
