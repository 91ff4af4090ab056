"""``python -m child_cart``."""

import sys

from .main import main

sys.exit(main())
