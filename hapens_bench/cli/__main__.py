"""`python -m hapens_bench.cli` is `hapens`."""

import sys

from hapens_bench.cli.main import main

sys.exit(main())
