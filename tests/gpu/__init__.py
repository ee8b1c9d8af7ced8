"""Tests that need a CUDA device.

HAPENS_TEST_DEVICE=cpu rehearses them: `bash scripts/gpu/rehearse.sh`.
"""

import os

import pytest
import torch

DEVICE = os.environ.get("HAPENS_TEST_DEVICE", "cuda")
missing = DEVICE == "cuda" and not torch.cuda.is_available()
marks = [pytest.mark.gpu, pytest.mark.skipif(missing, reason="needs a CUDA device")]
