#!/usr/bin/env bash
# Gather in .gpu/ what a bare GPU machine lacks: wheels of the packages that training needs besides
# torch, the data, and the commit.
#   HAPENS_MIRROR=<folder of data files> bash scripts/gpu/pack.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${HAPENS_MIRROR:?names the folder of data files}"
python=${PYTHON:-python3}
rm -rf .gpu
mkdir -p .gpu/wheels .gpu/data
wanted=$(grep -E '^(hydra-core|omegaconf|antlr4-python3-runtime|pooch|platformdirs)==' \
    requirements.lock)
# antlr4's runtime is published as source only, so its wheel is built here
# shellcheck disable=SC2086
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir .gpu/wheels $wanted
for name in ahns_tool ahns_phone gowalla sdns_tmall; do
    cp -rL "$HAPENS_MIRROR/$name" .gpu/data/
done
chmod -R u+w .gpu
git describe --always --abbrev=40 --dirty --exclude='*' > .gpu/commit
du -sh .gpu
