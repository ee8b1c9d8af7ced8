#!/usr/bin/env bash
# Run a few tests against other versions of the dependencies, each set in its own environment.
#   bash scripts/compat.sh python3.11 lowest   (every package at its lower bound in pyproject.toml)
#   bash scripts/compat.sh python3.12 newest   (nothing pinned but torch)
#   bash scripts/compat.sh python3.13 hydra    (requirements.lock, pre-releases of Hydra and OmegaConf)
# torch is always the one of requirements.lock: any other is gigabytes. COMPAT is the folder of the
# environments.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 set=$2
lower_bounds() {
    "$python" - << 'END'
import re, tomllib
for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    name, bound = re.match(r"([\w-]+)>=([\d.]+)", line).groups()
    if name != "torch":
        print(f"{name}=={bound}")
END
}
tests=(tests/config tests/test_rng.py)
tests+=(tests/data/test_{readers,load,sources,sdns_splits}.py)
tests+=(tests/launch/test_pack.py tests/launch/test_pack_failures.py tests/launch/test_pack_size.py)
for name in one_run_leaves_the_promised_files a_sweep_typed_again_runs_only_what_is_missing \
    help_and_config_are_shown; do
    tests+=("tests/test_cli.py::test_$name")
done
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) ||
    { echo "compat $python $set: there is no $python here"; exit 0; }
place=$(realpath -m "${COMPAT:-.venv-compat}/$version-$set")
echo "compat $version $set: installing into $place"
"$python" -m venv --clear "$place"
constraints=$place/constraints.txt
export NUMBA_CACHE_DIR=$place/numba  # one for each version of numba
case $set in
    lowest) lower_bounds > "$constraints" ;;
    newest) : > "$constraints" ;;
    hydra)
        own='hydra-core|omegaconf|antlr4-python3-runtime'
        grep -vE "^($own)==" requirements.lock > "$constraints"
        ;;
    *) echo "there is no set $set; choose one of lowest, newest, hydra" >&2; exit 2 ;;
esac
torch=$(grep -m1 '^torch==' requirements.lock)
pip=("$place/bin/pip" install --quiet --disable-pip-version-check --prefer-binary)
"${pip[@]}" "$torch"
"${pip[@]}" --constraint "$constraints" "$torch" --editable . pytest hypothesis
if [ "$set" = hydra ]; then
    "${pip[@]}" --pre --upgrade 'hydra-core>=1.4.0.dev0,<1.5' 'omegaconf>=2.4.0.dev0'
fi
"$place/bin/pip" check
shown='torch|hydra-core|omegaconf|numpy|numba|scipy|pandas|pyarrow|pooch|wandb|matplotlib'
"$place/bin/pip" list 2> /dev/null | grep -iE "^($shown) " |
    awk '{printf "%s %s; ", $1, $2} END {print ""}'
"$place/bin/python" -m pytest -p no:cacheprovider "${tests[@]}"
