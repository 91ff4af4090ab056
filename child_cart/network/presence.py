"""The record by which other carts find this one at its bridge."""

from __future__ import annotations

import time

from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role, Whereabouts
from cart_common.wire.records import CartRecord, RecordError, make_cart_record, make_withdrawal


class Presence:
    """Makes the records that tell other carts where this one is.

    Args:
        identity: signs them.
        token: the bridge token of the fleet, which marks each record.
    """

    def __init__(self, identity: Identity, token: bytes) -> None:
        self._identity = identity
        self._token = token
        self._sequence = 0
        self._told: Role | None = None
        self._last: CartRecord | None = None

    def renew(self) -> None:
        """Make the next record in any case: the cart has attached anew, or the last record expires soon."""
        self._told = None

    def news(
        self, bridge_id: str, bridge_url: str, role: Role, model_signature: str, model_version: int
    ) -> Whereabouts | None:
        """Return the record to send to the bridge, or None if none is needed.

        No cart looks for one without a model. A round makes the cart KERNEL for seconds; that does not change where it
        is, and two records a round, spread over several bridges, would be most of the directory's traffic.
        """
        at_rest_again = role is Role.SHELL and self._told is not Role.SHELL
        if model_version == 0 or not (self._told is None or at_rest_again):
            return None
        self._sequence = max(self._sequence + 1, int(time.time() * 1000))
        try:
            record = make_cart_record(
                self._identity,
                self._token,
                bridge_id=bridge_id,
                bridge_url=bridge_url,
                role=role,
                model_signature=model_signature,
                sequence=self._sequence,
                now_s=time.time(),
            )
        except RecordError:
            return None
        self._told, self._last = role, record
        return Whereabouts(record.encoded.decode("ascii"))

    def farewell(self) -> Whereabouts | None:
        """Return the withdrawal of the last record, or None without one: the cart is not found there any more."""
        if self._last is None:
            return None
        record = make_withdrawal(self._last, self._identity, self._token, time.time())
        self._sequence, self._told, self._last = record.sequence, None, None
        return Whereabouts(record.encoded.decode("ascii"))
