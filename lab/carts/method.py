"""What a run compares: a way in which carts learn together, round by round. ``carts`` is the product's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from child_cart.db.records import ModelVersion
from child_cart.model.arrays import Weights
from child_cart.model.task import Row


@dataclass(frozen=True)
class CartEnd:
    """How a cart's round has ended, as a line of ``rounds.csv`` says it."""

    outcome: str
    rows: int = 0
    local_value: float | None = None
    new_value: float | None = None
    asked: int = 0
    accepted: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    received_bytes: int = 0


AWAY = CartEnd("AWAY")


@dataclass(frozen=True)
class MethodRound:
    """A round of all carts.

    Attributes:
        virtual_s: how long it took by the virtual clock.
        trained_on: the rows that each cart has trained on.
        ends: how it ended for each cart that was there.
    """

    virtual_s: float
    trained_on: Mapping[int, Sequence[Row]]
    ends: Mapping[int, CartEnd]


class Method(Protocol):
    """Carts that learn together."""

    def run_round(self, number: int, rows: Mapping[int, Sequence[Row]]) -> MethodRound:
        """Let a round pass in which these carts are there and get these rows."""

    def weights(self) -> list[Weights]:
        """Return each cart's newest weights."""

    def virtual_s(self) -> float:
        """Return the virtual time."""

    def versions(self) -> list[ModelVersion]:
        """Return the record of each cart's newest version; none where a method keeps no such records."""

    def set_aside(self) -> list[list[int]]:
        """Return the numbers of each cart's rows that are set aside; none where a method sets none aside."""

    def known(self) -> list[list[str]]:
        """Return what each cart remembers of models that it has mixed; none where a method keeps nothing."""

    def remembered(self) -> dict[str, list[Weights]]:
        """Return further models that the next rounds depend on, by who has them."""

    def go_on_from(
        self,
        versions: Sequence[ModelVersion],
        models: Mapping[str, Sequence[Weights]],
        came: Mapping[int, Sequence[Row]],
        known: Sequence[Sequence[str]],
        set_aside: Sequence[Sequence[int]],
    ) -> None:
        """Take over the models of an earlier part of this run, and what had come by then."""

    def close(self) -> None:
        """End all carts."""
