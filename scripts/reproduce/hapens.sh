#!/usr/bin/env bash
# HAPENS (our reading) beside RNS, DNS(M), AHNS and SDNS with equal budgets, and its two shuffle
# controls, on the data sets named: 40 trials of the search, 15 trainings with the chosen settings
# (three seeds), 12 more of the controls (five seeds), and the stage ones that they need; then the
# tables. What is done is skipped. RUNS is the folder of run folders (default: runs/table).
#   HAPENS_MIRROR=<folder> bash scripts/reproduce/hapens.sh sports ml-1m gowalla
set -euo pipefail
(($#)) || { echo "name the data sets: tools, phones, sports, ml-1m or gowalla" >&2; exit 2; }
runs=${RUNS:-runs/table}
for name in "$@"; do
  hapens train -m experiment=tune_hapens dataset="$name" paths.runs="$runs"
  hapens choose tune_hapens equal --ship --dataset "$name" --runs "$runs"
  hapens train -m experiment=hapens_table dataset="$name" tuned=equal paths.runs="$runs"
  hapens train -m experiment=hapens_shuffle_equal dataset="$name" paths.runs="$runs"
  hapens train -m experiment=hapens_shuffle_activity dataset="$name" paths.runs="$runs"
done
hapens table hapens_tuned --activity --runs "$runs"
hapens table hapens_shuffle_equal --activity --runs "$runs"
hapens table hapens_shuffle_activity --activity --runs "$runs"
