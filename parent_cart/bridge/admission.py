"""Which carts may attach: those that prove the fleet's token. An address that fails often waits for answers. Pure."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from cart_common.process.account import account_of
from cart_common.process.addresses import Network, client_behind
from cart_common.process.token_bucket import AddressBuckets
from cart_common.wire.fleet_key import admission_proof
from cart_common.wire.identity import attach_statement, signature_is_valid
from cart_common.wire.messages import PROTOCOL_VERSION, Attach, Code, Message

from .rules import Violation

FAILURES_AT_ONCE: Final = 10
FAILURES_PER_S: Final = 0.2


class Admission:
    """Decides who may connect and attach.

    Args:
        token: the bridge token; None admits every cart.
        clock: seconds that only grow.
        max_connections: how many one address (of IPv6, one network) may have at once; 0 is no limit.
        trusted_proxies: networks of the proxies that tell the address of a cart.
    """

    def __init__(
        self,
        token: bytes | None,
        clock: Callable[[], float],
        max_connections: int = 0,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._trusted_proxies = trusted_proxies
        self.max_connections = max_connections
        self._connections: Counter[str] = Counter()
        self._token = token
        self._clock = clock
        self._failures = AddressBuckets(FAILURES_PER_S, FAILURES_AT_ONCE)

    def check(self, message: Message, nonce: bytes, bridge_id: bytes) -> Attach:
        """Return an ATTACH whose proof and signature are right.

        Args:
            message: the first one of a connection.
            nonce: what this connection was given to sign.
            bridge_id: this bridge's, which is signed with it.

        Raises:
            Violation: if it is something else.
        """
        if not isinstance(message, Attach):
            raise Violation(Code.UNEXPECTED_MESSAGE, f"The first message must be ATTACH; {message.KIND} came.")
        if message.version != PROTOCOL_VERSION:
            raise Violation(
                Code.WRONG_VERSION, f"This bridge speaks version {PROTOCOL_VERSION}, the cart {message.version}."
            )
        statement = attach_statement(nonce, bridge_id)
        public_key = bytes.fromhex(message.public_key)
        # The proof first: it takes a fiftieth of the signature's time, which strangers must not cost the bridge.
        if not self.proves(bytes.fromhex(message.proof), statement + public_key):
            raise Violation(Code.NOT_ADMITTED, "The cart does not hold the key of the fleet that this bridge serves.")
        if not signature_is_valid(public_key, bytes.fromhex(message.signature), statement):
            raise Violation(Code.BAD_SIGNATURE, "The signature over nonce and bridge id is not this key's.")
        return message

    def proves(self, proof: bytes, statement: bytes) -> bool:
        """Tell whether a cart's proof is right, in constant time."""
        return self._token is None or hmac.compare_digest(admission_proof(self._token, statement), proof)

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the address of a cart from its connection's other end and the value of ``X-Forwarded-For``."""
        return client_behind(self._trusted_proxies, peer, forwarded_for)

    def may_enter(self, address: str) -> bool:
        """Tell whether an address may have one more connection."""
        return not self.max_connections or self._connections[account_of(address=address)] < self.max_connections

    def enter(self, address: str) -> None:
        """Count a connection of an address."""
        self._connections[account_of(address=address)] += 1

    def leave(self, address: str) -> None:
        """Stop counting a connection of an address."""
        account = account_of(address=address)
        self._connections[account] -= 1
        if self._connections[account] <= 0:
            del self._connections[account]

    def note_failure(self, address: str) -> float:
        """Count a failed attach of an address; return for how many seconds to delay the answer.

        Only failures wait: one address, of a NAT or a proxy, may be that of good carts as well as of a bad one.
        """
        now = self._clock()
        left = self._failures.of(address, now).take(1, now)
        return max(0.0, -left / FAILURES_PER_S)
