"""A cart's pages, with all that lies behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.carts.shown import Shown


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    """A cart that has not learned anything yet."""
    cart = Shown(tmp_path)
    yield cart
    cart.close()
