"""`python -m hapens_bench` is `hapens train`."""

import sys

from hapens_bench.cli.train import train

sys.exit(train(sys.argv[1:]))
