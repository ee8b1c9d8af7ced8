#!/usr/bin/env bash
# Prove that the wheel is self-contained: install it in an empty environment and train elsewhere.
#   bash scripts/try_wheel.sh dist/hapens_bench-0.1.0-py3-none-any.whl
set -euo pipefail
wheel=$(realpath "$1")
lock=$(realpath "$(dirname "$0")/../requirements.lock")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet "$(grep -m1 '^torch==' "$lock")"
"$place/venv/bin/pip" install --quiet --constraint "$lock" "$wheel"
cd "$place"
"$place/venv/bin/python" -c 'import hapens_bench; print(hapens_bench.__file__)'
"$place/venv/bin/hapens" train sampler=dns debug=fast
"$place/venv/bin/hapens" data list
find runs -name summary.json
