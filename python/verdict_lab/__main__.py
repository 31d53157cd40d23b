"""`python -m verdict_lab` is the Python half of quickstart.sh."""

import sys

from .quickstart import main

sys.exit(main())
