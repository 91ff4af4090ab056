"""What a round of a run gives: a line for each cart, and a point of the learning curve with the bounds beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean

from child_cart.model.metric import Metric


@dataclass(frozen=True)
class CartRound:
    """One cart's round; values are of the run's metric, and None where the cart has none."""

    round: int
    cart: int
    hostile: bool
    outcome: str
    rows: int
    local_value: float | None
    """After its training, on the rows that the cart measures on."""
    new_value: float | None
    """After the average, on the same rows."""
    test_value: float
    """At the end of the round, on rows that no cart ever sees."""
    alone_value: float | None
    """Of a model that learns from the same rows and is never averaged; for honest carts."""
    asked: int
    accepted: int
    dropped: dict[str, int]
    """The received models that did not take part, by reason."""
    received_bytes: int


@dataclass(frozen=True)
class RoundResult:
    """One round of all carts.

    Attributes:
        number: from 1.
        virtual_s: how long it took by the virtual clock.
        carts: one each, those that were away too.
        all_data: the value of one model that trains on the rows of all carts, on the test rows.
    """

    number: int
    virtual_s: float
    carts: Sequence[CartRound]
    all_data: float


@dataclass(frozen=True)
class CurvePoint:
    """One round in short: mean and worst value of the honest carts on the test rows, and the bounds."""

    round: int
    federated: float
    federated_worst: float
    alone: float
    alone_worst: float
    all_data: float
    received_bytes: int
    """A cart's, in the mean."""
    dropped: int
    virtual_s: float
    real_s: float

    @classmethod
    def of(cls, line: Mapping[str, str]) -> CurvePoint:
        """Return the point of a line of a CSV file; raises ``ValueError`` or ``KeyError`` for any other line."""
        kinds = {"int": int, "float": float}
        return cls(**{entry.name: kinds[str(entry.type)](line[entry.name]) for entry in fields(cls)})


def point_of(result: RoundResult, real_s: float, metric: Metric) -> CurvePoint:
    """Return a round in short.

    Args:
        result: the round.
        real_s: how long it took to compute.
        metric: says which value is the worst.
    """
    honest = [cart for cart in result.carts if not cart.hostile]
    federated = [cart.test_value for cart in honest]
    alone = [cart.alone_value for cart in honest if cart.alone_value is not None]
    return CurvePoint(
        round=result.number,
        federated=fmean(federated),
        federated_worst=metric.worst(federated),
        alone=fmean(alone),
        alone_worst=metric.worst(alone),
        all_data=result.all_data,
        received_bytes=round(fmean(cart.received_bytes for cart in honest)),
        dropped=sum(sum(cart.dropped.values()) for cart in honest),
        virtual_s=result.virtual_s,
        real_s=real_s,
    )
