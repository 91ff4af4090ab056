"""The light task, with a row from each bill line: what was sold can be found again in the rows."""

from __future__ import annotations

from child_cart.model.task import Row, SoldLine
from tests.support.carts.light_task import LightTask


class SoldTask(LightTask):
    name = "sold"

    def sale_row(self, line: SoldLine) -> Row:
        return row_of(line.amount)


def row_of(amount: int) -> Row:
    """Return the row that a bill line of this amount makes."""
    return {"degrees": amount % 360, "third": amount % 360 // 120}
