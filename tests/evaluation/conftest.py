import numpy as np
import pytest
import torch

from hapens_bench.kernels import Engine


@pytest.fixture(params=[Engine.PLAIN, Engine.NUMBA])
def engine(request):
    return request.param


def random_vectors(
    generator: np.random.Generator, shape: tuple[int, ...], levels: int | None
) -> torch.Tensor:
    """Return normal vectors, or coarse ones with few levels, which give ties."""
    vectors = (
        generator.standard_normal(shape) if levels is None else generator.integers(0, levels, shape)
    )
    return torch.from_numpy(vectors.astype(np.float32))
