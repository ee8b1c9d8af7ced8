#!/usr/bin/env bash
# AHNS Table 2 (Lai et al., AAAI 2024): trains what is missing (hours on a CPU, ML-1M last), then
# prints and writes the table.
# Needs the authors' data files: HAPENS_MIRROR=<folder> or a network.
set -euo pipefail
hapens train -m experiment=ahns_table2
hapens table ahns_table2
