#!/usr/bin/env bash
# Rehearse both calls of check.sh on a CPU, in a bare environment like the GPU machine's: torch 2.11 and the usual
# packages from the index, Hydra and its like from .gpu/ only.
#   bash scripts/gpu/pack.sh && bash scripts/gpu/rehearse.sh [PYTHON 3.12] [OUT]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3.12} out=${2:-$(mktemp -d)}
bare=${BARE:-.venv-gpu-bare}
if [ ! -x "$bare/bin/python" ]; then
    "$python" -m venv "$bare"
    "$bare/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 numpy pandas scipy numba pyarrow \
        matplotlib pytest pytest-xdist hypothesis filelock rich tqdm requests pyyaml packaging
fi
for call in 1 2; do
    DEVICE=cpu SMALL=1 PYTHON="$bare/bin/python" bash scripts/gpu/check.sh "$call" "$out/$call"
done
cat "$out"/?/steps.csv
ls -lR "$out"
