"""``python -m parent_cart``."""

import sys

from .main import main

sys.exit(main())
