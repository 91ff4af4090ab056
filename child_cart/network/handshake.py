"""Attach to a bridge: it sends WELCOME, the cart proves its identity with ATTACH, the bridge answers ATTACHED."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, TypeVar

from cart_common.websocket.frames import BINARY, Frame, FrameError, text_of
from cart_common.wire.fleet_key import admission_proof
from cart_common.wire.identity import Identity, attach_statement
from cart_common.wire.messages import (
    PROTOCOL_VERSION,
    Attach,
    Attached,
    Code,
    ErrorMessage,
    Message,
    MessageError,
    Role,
    Welcome,
    encode,
    parse,
)
from cart_common.wire.records import is_bridge_url

from .client_connection import ClientConnection, ConnectionEnded

M = TypeVar("M", bound=Message)
WHAT_TO_DO: Final = {
    Code.NOT_ADMITTED: " Give this cart the fleet key that the bridge's token was made from (--fleet-key-file).",
    Code.WRONG_VERSION: " Upgrade the older of the two.",
    Code.BRIDGE_FULL: " Raise BRIDGE_MAX_CARTS there, or add a bridge.",
}
"""By the code of a refusal; empty where the cart comes back by itself."""


class BridgeRefused(Exception):
    """The bridge has refused this cart, or does not speak the protocol."""


@dataclass(frozen=True)
class Standing:
    """What the cart tells the bridge about itself."""

    role: Role
    model_signature: str
    model_version: int
    task: str = ""
    """A digest of the task's name; empty on a visit, where the cart does not count."""


@dataclass(frozen=True)
class Attachment:
    """The result of a handshake."""

    welcome: Welcome
    url: str
    """Where other carts reach the bridge."""
    round_trip_s: float


class Handshake:
    """The cart's side of the handshake.

    Args:
        identity: the cart's key pair.
        token: the bridge token; proves that the cart belongs to the fleet.
        only: the id of the one bridge to accept, in hexadecimal; empty for any.
    """

    def __init__(self, identity: Identity, token: bytes, only: str) -> None:
        self._identity = identity
        self._token = token
        self._only = only

    async def attach(self, connection: ClientConnection, url: str, standing: Standing) -> Attachment:
        """Attach with this standing.

        Raises:
            BridgeRefused: if the bridge refuses or breaks the protocol; the sentence says why.
        """
        welcome = await _expect(connection, url, Welcome)
        if welcome.version != PROTOCOL_VERSION:
            raise BridgeRefused(f"The bridge speaks version {welcome.version}, this cart {PROTOCOL_VERSION}.")
        if self._only not in ("", welcome.bridge_id):
            raise BridgeRefused(f"{url} is another bridge than the one that was looked for there.")
        statement = attach_statement(bytes.fromhex(welcome.nonce), bytes.fromhex(welcome.bridge_id))
        attach = Attach(
            version=PROTOCOL_VERSION,
            public_key=self._identity.public_key.hex(),
            signature=self._identity.sign(statement).hex(),
            role=standing.role,
            model_signature=standing.model_signature,
            model_version=standing.model_version,
            proof=admission_proof(self._token, statement + self._identity.public_key).hex(),
            task=standing.task,
        )
        asked_at = time.monotonic()
        connection.send_control(encode(attach))
        await _expect(connection, url, Attached)
        own_url = welcome.url if is_bridge_url(welcome.url) else url
        return Attachment(welcome, own_url, time.monotonic() - asked_at)


async def _expect(connection: ClientConnection, url: str, kind: type[M]) -> M:
    try:
        frame = await connection.next_frame()
    except ConnectionEnded as end:
        raise BridgeRefused(f"{str(end).rstrip('.')} before it was ready.") from None
    message = message_of(frame)
    if isinstance(message, ErrorMessage):
        advice = WHAT_TO_DO.get(message.code, "")
        raise BridgeRefused(f"The bridge at {url} refused this cart: {message.sentence} ({message.code}).{advice}")
    if not isinstance(message, kind):
        raise BridgeRefused(f"{url} sent {message.KIND} where {kind.KIND} was due.")
    return message


def message_of(frame: Frame) -> Message:
    """Return the control message that a frame holds.

    Raises:
        BridgeRefused: if it holds none.
    """
    if frame.opcode == BINARY:
        raise BridgeRefused("The bridge sent a frame that is no control message.")
    try:
        return parse(text_of(frame.payload))
    except (MessageError, FrameError) as error:
        raise BridgeRefused(f"The bridge sent a wrong message: {error}") from None
