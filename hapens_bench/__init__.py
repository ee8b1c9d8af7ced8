"""hapens_bench: an honest, fast comparison of negative samplers for implicit collaborative filtering."""

import os
import sys

__version__ = "0.1.0"

if "torch" not in sys.modules:
    # OpenMP reads these when torch loads it. Two thread pools (torch's and numba's) that spin for long while they wait starve each
    # other: measured at 8 ms a kernel on two cores instead of 0.2 ms. A short spin saves a fifth of the step over none.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    # Else the matrix products of NGCF's gradient have other last bits with two threads than with one, on Intel's CPUs with AVX-512.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
