#!/usr/bin/env bash
# AHNS Table 2 (Lai et al., AAAI 2024): MF, the samplers of the table that the suite has so far.
# Needs the authors' data files: HAPENS_MIRROR=<folder> or a network. Typed again, it runs only what is missing.
set -euo pipefail
samplers=rns,dns,ahns_p1,ahns
python -m hapens_bench -m dataset=tools sampler=$samplers 'seed=range(3)'
python -m hapens_bench -m dataset=phones,sports sampler=$samplers 'seed=range(3)'
python -m hapens_bench -m dataset=ml-1m sampler=$samplers 'seed=range(3)'
hapens table ahns_table2
