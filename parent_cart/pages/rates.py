"""The bytes per second that pass through the bridge: now, for each cart, and over the last minutes. Has no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..bridge.hub import AttachedCart

SAMPLE_EVERY_S: Final = 5.0
SAMPLES_KEPT: Final = 120
"""Ten minutes."""


@dataclass(frozen=True)
class CartRate:
    """What one cart sends and receives, in bytes per second."""

    sent: float
    got: float


@dataclass(frozen=True)
class Sample:
    """The bytes per second relayed since the previous sample, and the number of carts attached at ``at``."""

    at: float
    bytes_per_s: float
    carts: int


class Traffic:
    """Takes samples of the hub's byte counters, and makes rates of them."""

    def __init__(self) -> None:
        self.history: deque[Sample] = deque(maxlen=SAMPLES_KEPT)
        self._before: tuple[float, int, dict[str, tuple[int, int]]] | None = None
        self._carts: dict[str, CartRate] = {}

    @property
    def bytes_per_s(self) -> float:
        """The bytes per second that were relayed between the last two samples."""
        return self.history[-1].bytes_per_s if self.history else 0.0

    def of(self, cart_id: str) -> CartRate:
        """Return the rates of a cart between the last two samples."""
        return self._carts.get(cart_id, CartRate(0.0, 0.0))

    def sample(self, now: float, relayed_bytes: int, carts: Iterable[AttachedCart]) -> None:
        """Record the counters; ``now`` is in monotonic seconds."""
        counted = {cart.cart_id: (cart.received_bytes, cart.delivered_bytes) for cart in carts}
        before, self._before = self._before, (now, relayed_bytes, counted)
        if before is None or now <= before[0]:
            return
        passed_s = now - before[0]
        self._carts = {
            # The counters of a cart that attaches again restart at zero.
            cart_id: CartRate(*(max(0, new - old) / passed_s for new, old in zip(bytes_now, earlier, strict=True)))
            for cart_id, bytes_now in counted.items()
            if (earlier := before[2].get(cart_id, (0, 0))) != bytes_now
        }
        self.history.append(Sample(now, (relayed_bytes - before[1]) / passed_s, len(counted)))
