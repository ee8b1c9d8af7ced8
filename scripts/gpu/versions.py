"""Print the machine's versions: Python, torch, CUDA, the packages that training needs, the GPU."""

import importlib
import platform
import sys

import torch

PACKAGES = (
    "numpy scipy pandas numba pyarrow matplotlib rich filelock tqdm pytest xdist triton "
    "hydra omegaconf pooch"
)

print(sys.version)
print(platform.platform())
for name in PACKAGES.split():
    try:
        print(name, getattr(importlib.import_module(name), "__version__", "is there"))
    except ImportError as error:
        print(name, "is missing:", error)
print("torch", torch.__version__, "CUDA", torch.version.cuda, "devices", torch.cuda.device_count())
if torch.cuda.is_available():
    print(torch.cuda.get_device_properties(0))
