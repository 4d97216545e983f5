"""`python -m sparsemeta` is `sparsemeta`."""

import sys

from sparsemeta.cli import main

sys.exit(main())
