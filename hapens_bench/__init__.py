"""An honest, fast comparison of negative samplers for implicit collaborative filtering."""

import importlib
import os
import sys
from typing import Any

__version__ = "0.1.0"

OF_API = ("train", "sweep", "results", "epochs", "users")

if "torch" not in sys.modules:
    # OpenMP reads these when torch loads it. Two thread pools (torch's and numba's) that spin for
    # long while they wait starve each other: measured on two cores, 8 ms per kernel instead of
    # 0.2 ms. Compared with no spin, a short one saves a fifth of the step.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    # Without it the matrix products of NGCF's gradient differ in their last bits between one and
    # two threads, on Intel CPUs with AVX-512.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def __getattr__(name: str) -> Any:
    """Return a function of `hapens_bench.api`, which is imported only when it is asked for."""
    if name not in OF_API:
        raise AttributeError(f"module 'hapens_bench' has no attribute {name!r}")
    # by name: the packages that read the version here must not seem to import everything
    return getattr(importlib.import_module("hapens_bench.api"), name)
