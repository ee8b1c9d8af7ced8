#!/usr/bin/env bash
# Train AHNS's grid on Tools (Lai et al., AAAI 2024), M from large to small; print trials a minute.
# The slowest trials fill a GPU best, and what is cut off is cheap to train elsewhere. `train` comes
# from check.sh.
set -uo pipefail
tenths=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0
common=(dataset=tools sampler=ahns 'protocol.selection=[valid]' seed=0)
common+=(trainer.checkpoint_seconds=30)
sizes=(64 32 16 8 4)
if [ -n "${SMALL:-}" ]; then
    tenths=0.1,0.5 sizes=(8 4)
    common+=(trainer.epochs=1)
fi
for M in "${sizes[@]}"; do
    begun=$SECONDS
    setting=("${common[@]}" "sampler.M=$M")
    train "${setting[@]}" "sampler.alpha=$tenths" "sampler.beta=$tenths" sampler.p=-2 || exit
    train "${setting[@]}" sampler.alpha=1.0 "sampler.beta=$tenths" sampler.p=-1 || exit
    n=$(tr -cd , <<< "$tenths" | wc -c)
    trials=$(((n + 1) * (n + 2)))
    seconds=$((SECONDS - begun))
    rate=$((60 * trials / (seconds > 0 ? seconds : 1)))
    echo "grid: M = $M, $trials trials in $seconds s: $rate trials a minute"
done
