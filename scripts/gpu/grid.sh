#!/usr/bin/env bash
# AHNS's grid on Tools (Lai et al., AAAI 2024), M from large to small, with trials a minute: the slowest trials fill a
# GPU best, and what is cut off is cheap to train elsewhere. `train` is check.sh's.
set -uo pipefail
tenths=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0
common=(dataset=tools sampler=ahns 'protocol.selection=[valid]' seed=0 trainer.checkpoint_seconds=30)
sizes=(64 32 16 8 4)
if [ -n "${SMALL:-}" ]; then
    tenths=0.1,0.5 sizes=(8 4)
    common+=(trainer.epochs=1)
fi
for M in "${sizes[@]}"; do
    begun=$SECONDS
    train "${common[@]}" "sampler.M=$M" "sampler.alpha=$tenths" "sampler.beta=$tenths" sampler.p=-2 || exit
    train "${common[@]}" "sampler.M=$M" sampler.alpha=1.0 "sampler.beta=$tenths" sampler.p=-1 || exit
    n=$(tr -cd , <<< "$tenths" | wc -c)
    trials=$(((n + 1) * (n + 2)))
    seconds=$((SECONDS - begun))
    echo "grid: M = $M, $trials trials in $seconds s: $((60 * trials / (seconds > 0 ? seconds : 1))) trials a minute"
done
