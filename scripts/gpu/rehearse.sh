#!/usr/bin/env bash
# Rehearse both calls of check.sh on a CPU, in a bare environment like the GPU machine's: torch 2.11
# and the usual packages from the index, Hydra and its dependencies from .gpu/ only. First, compile
# the compiled functions for a GPU, down to machine code; that needs no GPU.
#   bash scripts/gpu/pack.sh && bash scripts/gpu/rehearse.sh [PYTHON 3.12] [OUT]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3.12} out=${2:-$(mktemp -d)}
bare=${BARE:-.venv-gpu-bare}
if [ ! -x "$bare/bin/python" ]; then
    "$python" -m venv "$bare"
    "$bare/bin/pip" install --quiet --disable-pip-version-check \
        torch==2.11.0 numpy pandas scipy numba pyarrow matplotlib pytest pytest-xdist \
        hypothesis filelock rich tqdm requests pyyaml packaging
fi
mkdir -p "$out"
"$bare/bin/pip" install --quiet --no-index --no-deps --no-compile --upgrade \
    --target "$out/site" .gpu/wheels/*.whl
echo "== what torch.compile makes for a GPU"
PYTHONPATH="$out/site:$PWD" "$bare/bin/python" -W ignore scripts/gpu/offline_compile.py 2>&1 \
    | grep -v 'cache dir kept'
for call in 1 2; do
    DEVICE=cpu SMALL=1 PYTHON="$bare/bin/python" bash scripts/gpu/check.sh "$call" "$out/$call"
done
cat "$out"/?/steps.csv
ls -l "$out"/?
