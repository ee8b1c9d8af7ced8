#!/usr/bin/env bash
# Run the first checks and measurements on a borrowed GPU, in two calls (see README.md here):
#   bash scripts/gpu/check.sh 1|2 OUT
# DEVICE=cpu SMALL=1 rehearses a call without a GPU.
set -uo pipefail
call=$1
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/../.."
device=${DEVICE:-cuda} small=${SMALL:-}
place=${PLACE:-$(mktemp -d)}  # for files that need not come back
case $call in 1) limit=${LIMIT:-330} ;; 2) limit=${LIMIT:-450} ;; *) echo "the call is 1 or 2" >&2; exit 2 ;; esac
exec > >(tee -a "$out/check$call.log") 2>&1

python3=${PYTHON:-python3}
"$python3" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
    --target "$place/site" .gpu/wheels/*.whl || exit 1
export PYTHONPATH="$place/site:$PWD" PYTHONUNBUFFERED=1
export HAPENS_MIRROR="$PWD/.gpu/data" HAPENS_CACHE="$place/cache"
export HAPENS_TEST_DEVICE="$device" TORCHINDUCTOR_CACHE_DIR="$place/inductor"
HAPENS_COMMIT=$(cat .gpu/commit)
export HAPENS_COMMIT
runs=$place/runs

# step NAME SECONDS COMMAND...: run a command within its limit and the call's; note how it ended
step() {
    local name=$1 most=$2 left=$((limit - SECONDS)) begun=$SECONDS code
    shift 2
    [ "$most" -gt "$left" ] && most=$left
    if [ "$most" -lt 5 ]; then
        echo "== $name: no time left"
        return 1
    fi
    echo "== $name (at most $most s, $left s left): $*"
    timeout --kill-after=10 "$most" "$@"
    code=$?
    echo "== $name: exit $code after $((SECONDS - begun)) s"
    [ -s "$out/steps.csv" ] || echo "call,step,seconds,exit" > "$out/steps.csv"
    echo "$call,$name,$((SECONDS - begun)),$code" >> "$out/steps.csv"
    return $code
}

keep_runs() {  # save the run folders so far, without checkpoints
    [ -d "$runs" ] || return 0
    tar -C "$place" --exclude='checkpoint.pt' --exclude='.lock*' \
        -czf "$out/.runs.tmp" runs 2> /dev/null
    mv "$out/.runs.tmp" "$out/runs.tar.gz"
}

train() { "$python3" -m hapens_bench -m "paths.runs=$runs" "trainer.device=$device" "$@"; }
export -f train
export python3 runs device

bench() {
    "$python3" scripts/bench/bench.py --device "$device" --out "$out" "$@"
}
export -f bench
export out

first_call() {
    step versions 20 bash -c '"$python3" scripts/gpu/versions.py; nvidia-smi || true'
    step agree 90 "$python3" scripts/gpu/agree.py --device "$device" || {
        [ $? = 124 ] || { echo "the four ways disagree: nothing else is worth measuring"; exit 1; }
    }
    local tests=("$python3" -m pytest -v -m gpu tests/gpu/test_training.py)
    local profile=("$python3" scripts/gpu/kernel_times.py --device "$device")
    profile+=(--out "$out/profile.txt")
    if [ -n "$small" ]; then
        step samplers 100 "${tests[@]}" -n 2 -k "ahns or gdns or lightgcn-ssm"
        step ranking 40 "$python3" -m pytest -m gpu tests/gpu/test_ranking.py
        step profile 60 "${profile[@]}" --steps 3
        step trials 60 bash -c \
            'bench --only trials --pack-datasets planted --pack-sizes 1 2 --rounds 1'
    else
        step samplers 150 "${tests[@]}" -n 8
        step ranking 30 "$python3" -m pytest -m gpu tests/gpu/test_ranking.py
        step profile 60 "${profile[@]}"
        step trials 100 bash -c \
            'bench --only trials --pack-datasets tools --pack-sizes 1 8 32 128 --rounds 1'
    fi
}

second_call() {
    (while sleep 10; do keep_runs; done) &
    keeper=$!
    trap 'kill $keeper 2> /dev/null; keep_runs' EXIT
    if [ -n "$small" ]; then
        export tiny="trainer.epochs=1 model.D=8 trainer.batch_size=65536"
        step tune 60 bash -c \
            'train experiment=tune_sdns dataset=tmall sampler=rns,sdns hydra.sweeper.n_trials=2 $tiny'
        step grid 60 bash scripts/gpu/grid.sh
        step bench 60 bash -c 'bench --only packed_evaluation precision --datasets tools --rounds 1'
        return
    fi
    step tune 270 bash -c \
        'train experiment=tune_sdns dataset=tmall sampler=sdns,dns,mixgcf,rns,irgan,advir'
    step grid 100 bash scripts/gpu/grid.sh
    step bench 70 bash -c \
        'bench --only growth memory packed_evaluation precision --datasets tools --rounds 1'
}

if [ "$call" = 1 ]; then first_call; else second_call; fi
echo "== call $call: $SECONDS s"
