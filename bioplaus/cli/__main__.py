"""``python -m bioplaus.cli``, for where the console script is not on the path."""

import sys

from bioplaus.cli import main

sys.exit(main())
