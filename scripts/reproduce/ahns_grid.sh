#!/usr/bin/env bash
# The grid of AHNS (Lai et al., AAAI 2024) on Tools, one seed: M x alpha x beta for p = -2, and
# M x beta for p = -1, where alpha has no effect. 550 trials in 5 groups that share packs, on all
# GPUs at once. SMALL=1 rehearses it on a CPU in a minute.
set -euo pipefail
tenths=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0
common=(dataset=tools sampler=ahns 'protocol.selection=[valid]' seed=0)
begun=$(date +%s)
if [ -n "${SMALL:-}" ]; then
  hapens train -m "${common[@]}" sampler.M=4,8 sampler.alpha=0.5,1.0 \
    sampler.beta=0.1,0.5 sampler.p=-2,-1 trainer.epochs=6
  trials=16
else
  hapens train -m "${common[@]}" sampler.M=4,8,16,32,64 sampler.alpha=$tenths \
    sampler.beta=$tenths sampler.p=-2
  hapens train -m "${common[@]}" sampler.M=4,8,16,32,64 sampler.alpha=1.0 \
    sampler.beta=$tenths sampler.p=-1
  trials=550
fi
seconds=$(($(date +%s) - begun))
echo "$trials trials in $seconds s: $((trials * 60 / (seconds > 0 ? seconds : 1))) trials a minute"
