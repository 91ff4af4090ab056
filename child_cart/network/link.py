"""A cart's connection to a bridge: attach, read, write, and come back by itself, here or elsewhere, for ever.

Knows nothing of models. What arrives goes to a ``LinkHandler``; what is to leave goes through ``send``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

import aiohttp

from .bridges import Bridges, Try
from .chunk import HEADER_BYTES, MAX_FRAME_BYTES, ChunkError, ChunkHeader, unpack_header
from .fleet_key import admission_proof, bridge_token
from .identity import Identity, attach_statement
from .messages import (
    PROTOCOL_VERSION,
    Attach,
    Attached,
    ErrorMessage,
    Exit,
    ExitDone,
    Message,
    MessageError,
    NbrList,
    PeerType,
    Role,
    Welcome,
    Whereabouts,
    encode,
    parse,
)
from .neighbours import checked_bridges
from .outbox import Outbox, OutboxClosed, OutboxFull
from .records import RecordError, is_bridge_url, make_cart_record
from .tasks import background

log = logging.getLogger("cart.link")
M = TypeVar("M", bound=Message)

# What waits on this side before a sending transfer pauses: enough to keep the socket busy, little enough that
# control is never far behind and that several transfers take turns.
CHUNKS_AHEAD_BYTES: Final = 512 * 1024
# A bridge that died does not answer a closing handshake; a cart that stops does not wait long for it.
CLOSE_S: Final = 1.0
# A link that breaks at once, as when two carts run with one key, is no reason to come back quickly.
STEADY_S: Final = 5.0


class LinkState(StrEnum):
    """The life of the link."""

    WAITING = "WAITING"
    CONNECTING = "CONNECTING"
    ATTACHING = "ATTACHING"
    ATTACHED = "ATTACHED"
    CLOSED = "CLOSED"


class LinkDown(Exception):
    """There is no attached link to send on."""


class _Refused(Exception):
    """The bridge has refused this cart, or does not speak the protocol."""


@dataclass(frozen=True)
class Standing:
    """What the cart tells the bridge about itself."""

    role: Role
    model_signature: str
    model_version: int


class LinkHandler(Protocol):
    """Who is told what arrives."""

    def on_attached(self, welcome: Welcome) -> None:
        """Take note that messages can be sent."""

    def on_message(self, message: Message) -> None:
        """Take a control message."""

    def on_chunk(self, header: ChunkHeader, payload: memoryview) -> None:
        """Take a chunk."""

    def on_lost(self) -> None:
        """Take note that the link is gone, with all that was under way on it."""


@dataclass(frozen=True)
class LinkStatus:
    """The link as a page shows it."""

    state: LinkState
    url: str
    since: float
    """When the state began, in seconds since the epoch."""
    reason: str
    """Why the last link ended or could not be made; empty while attached."""


class Link:
    """The connection to a bridge, and to another one when that is lost.

    Args:
        bridges: say where to attach, and when.
        identity: the cart's key pair.
        fleet_key: the fleet's, or ``OPEN``; proves to the bridge that the cart belongs to it.
        tls: how to trust a ``wss://`` bridge; None for what the system trusts.
        standing: gives what to attach with, asked anew at each attach.
        heartbeat_s: seconds between pings.
        connect_timeout_s: seconds for connecting and attaching.
        only: the id of the bridge that it must be, in hexadecimal; empty for any.
    """

    def __init__(
        self,
        bridges: Bridges,
        identity: Identity,
        fleet_key: bytes,
        tls: ssl.SSLContext | None,
        standing: Callable[[], Standing],
        heartbeat_s: float,
        connect_timeout_s: float,
        only: str = "",
    ) -> None:
        self._bridges = bridges
        self._url = bridges.first
        self._identity = identity
        self._tls = tls
        self._fleet_key = fleet_key
        self._token = bridge_token(fleet_key)
        self._standing = standing
        self._heartbeat_s = heartbeat_s
        self._connect_timeout_s = connect_timeout_s
        self._handler: LinkHandler
        self._logged_reason = ""
        self._reason = ""
        self._outbox: Outbox | None = None
        self._told: Standing | None = None
        self._round_trip_s = 0.0
        self._only = only
        self._own_url = ""
        self._bridge_id = ""
        self._sequence = 0
        self._held = False
        self._leaving = asyncio.Event()
        self._exit_done = asyncio.Event()
        self._attached = asyncio.Event()
        self.status = LinkStatus(LinkState.WAITING, self._url, time.time(), "not started yet")

    async def run(self, handler: LinkHandler) -> None:
        """Keep the cart attached until ``leave`` has been called; the handler is told what arrives."""
        self._handler = handler
        async with aiohttp.ClientSession() as session:
            while not self._leaving.is_set():
                following = self._bridges.next_try()
                await self._wait_to_try(following)
                if self._leaving.is_set():
                    break
                self._url, self._held = following.url, False
                self._reason = await self._attach_once(session)
                if not self._held:
                    self._bridges.note_failed(self._url)
        self._move_to(LinkState.CLOSED, "the cart is stopping")

    def to_visit(self, url: str, bridge_id: str) -> Link:
        """Return a link of the same cart to another bridge, on which it has nothing to offer: nobody is to pick it."""

        def standing() -> Standing:
            return Standing(Role.KERNEL, self._standing().model_signature, 0)

        only_there = Bridges([url], 1.0, 1.0, time.monotonic, time.time)
        times = (self._heartbeat_s, self._connect_timeout_s)
        return Link(only_there, self._identity, self._fleet_key, self._tls, standing, *times, bridge_id)

    async def visit(self, handler: LinkHandler) -> str:
        """Attach once, until the link ends or is left; return why it has ended, as a sentence."""
        self._handler = handler
        async with aiohttp.ClientSession() as session:
            self._url = self._bridges.next_try().url
            reason = await self._attach_once(session)
        self._move_to(LinkState.CLOSED, reason)
        return reason

    async def _wait_to_try(self, following: Try) -> None:
        if self._reason:
            what = "Trying again" if following.url == self._url else f"Trying {following.url}"
            self._move_to(LinkState.WAITING, f"{self._reason} {what} in {following.wait_s:.1f} s.")
        with suppress(TimeoutError):
            async with asyncio.timeout(following.wait_s):
                await self._leaving.wait()

    async def wait_attached(self) -> None:
        """Wait until the link is attached."""
        await self._attached.wait()

    def send(self, message: Message) -> None:
        """Send a control message.

        Raises:
            LinkDown: if the cart is not attached, or its link does not take any more.
        """
        if self._outbox is None:
            raise LinkDown("The cart is not attached to a bridge.")
        try:
            self._outbox.put_control(encode(message))
        except OutboxFull as full:
            raise LinkDown(f"The link to the bridge is stuck: {full}") from None

    async def send_chunk(self, frame: bytes) -> None:
        """Send a chunk frame, after waiting for its turn.

        Raises:
            LinkDown: if the cart is not attached.
        """
        if self._outbox is None:
            raise LinkDown("The cart is not attached to a bridge.")
        try:
            await self._outbox.put_chunk_when_room(frame)
        except OutboxClosed:
            raise LinkDown("The link to the bridge broke.") from None

    def announce(self) -> None:
        """Tell the bridge the present role and model version; without a link the next attach tells it."""
        standing = self._standing()
        if self._outbox is not None and standing != self._told:
            self.send(PeerType(standing.role, standing.model_version))
            self._told = standing
            self.publish()

    def publish(self) -> None:
        """Let other carts find this one at its bridge; without a model nobody looks for it."""
        standing = self._told
        if self._outbox is None or standing is None or standing.model_version == 0:
            return
        self._sequence = max(self._sequence + 1, int(time.time() * 1000))
        with suppress(RecordError):
            record = make_cart_record(
                self._identity,
                self._token,
                bridge_id=self._bridge_id,
                bridge_url=self._own_url,
                role=standing.role,
                model_signature=standing.model_signature,
                sequence=self._sequence,
                now_s=time.time(),
            )
            self.send(Whereabouts(record.encoded.decode("ascii")))

    async def leave(self, timeout_s: float) -> None:
        """Tell the bridge that the cart goes, and stop coming back."""
        self._leaving.set()
        if self._outbox is None:
            return
        self._exit_done.clear()
        try:
            self.send(Exit())
            async with asyncio.timeout(timeout_s):
                await self._exit_done.wait()
        except TimeoutError:
            log.info("the bridge did not answer EXIT within %g s", timeout_s)
        except LinkDown as down:
            log.info("the bridge was not told EXIT: %s", down)

    async def _attach_once(self, session: aiohttp.ClientSession) -> str:
        """Hold one connection from its beginning to its end; return why it ended, as a sentence."""
        self._move_to(LinkState.CONNECTING, self.status.reason)
        try:
            async with asyncio.timeout(self._connect_timeout_s) as deadline:
                async with session.ws_connect(
                    f"{self._url}/v1/cart",
                    heartbeat=self._heartbeat_s,
                    compress=0,
                    ssl=self._tls or True,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                    max_msg_size=MAX_FRAME_BYTES + 1,
                ) as socket:
                    self._move_to(LinkState.ATTACHING, self.status.reason)
                    welcome = await self._shake_hands(socket)
                    deadline.reschedule(None)
                    if self._leaving.is_set():
                        return "The cart is stopping."
                    return await self._hold(socket, welcome)
        except TimeoutError:
            return f"The bridge at {self._url} did not answer within {self._connect_timeout_s:g} s."
        except _Refused as refused:
            return str(refused)
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return f"The certificate of {self._url} is not trusted ({why}). Name its CA with --bridge-ca."
        except aiohttp.ClientConnectorSSLError:
            return f"{self._url} does not speak TLS. If the bridge has no certificate, use ws:// instead."
        except aiohttp.ClientConnectorError as error:
            return f"No bridge answers at {self._url} ({_words(error.os_error)})."
        except aiohttp.WSServerHandshakeError as error:
            return f"{self._url} is not a bridge (it answers with HTTP status {error.status})."
        except (aiohttp.ClientError, OSError) as error:
            return f"The link to {self._url} failed ({error})."

    async def _shake_hands(self, socket: aiohttp.ClientWebSocketResponse) -> Welcome:
        welcome = await self._expect(socket, Welcome)
        if welcome.version != PROTOCOL_VERSION:
            raise _Refused(f"The bridge speaks version {welcome.version}, this cart {PROTOCOL_VERSION}.")
        if self._only not in ("", welcome.bridge_id):
            raise _Refused(f"{self._url} is another bridge than the one that was looked for there.")
        self._bridge_id = welcome.bridge_id
        self._own_url = welcome.url if is_bridge_url(welcome.url) else self._url
        statement = attach_statement(bytes.fromhex(welcome.nonce), bytes.fromhex(welcome.bridge_id))
        standing = self._standing()
        attach = Attach(
            version=PROTOCOL_VERSION,
            public_key=self._identity.public_key.hex(),
            signature=self._identity.sign(statement).hex(),
            role=standing.role,
            model_signature=standing.model_signature,
            model_version=standing.model_version,
            proof=admission_proof(self._token, statement + self._identity.public_key).hex(),
        )
        asked_at = time.monotonic()
        await socket.send_str(encode(attach))
        await self._expect(socket, Attached)
        self._round_trip_s = time.monotonic() - asked_at
        self._told = standing
        return welcome

    async def _expect(self, socket: aiohttp.ClientWebSocketResponse, kind: type[M]) -> M:
        message = _message_of(await socket.receive())
        if isinstance(message, ErrorMessage):
            raise _Refused(f"The bridge at {self._url} refused this cart: {message.sentence} ({message.code})")
        if not isinstance(message, kind):
            raise _Refused(f"{self._url} sent {message.KIND} where {kind.KIND} was due.")
        return message

    async def _hold(self, socket: aiohttp.ClientWebSocketResponse, welcome: Welcome) -> str:
        """Serve an attached link until it ends."""
        self._outbox = Outbox(CHUNKS_AHEAD_BYTES)
        self._move_to(LinkState.ATTACHED, "")
        held = asyncio.get_running_loop().call_later(STEADY_S, self._bridges.note_steady, self._url)
        self._held = True
        self._bridges.note_attached(self._url, welcome.bridge_id, self._round_trip_s)
        self._attached.set()
        reason, code = "The bridge closed the link.", None
        try:
            async with background(self._outbox.write_to(socket.send_str, socket.send_bytes)):
                self.publish()
                self.announce()  # it may have changed during the handshake
                self._handler.on_attached(welcome)
                async for frame in socket:
                    if frame.type is aiohttp.WSMsgType.BINARY:
                        self._take_chunk(frame.data)
                        continue
                    message = _message_of(frame)
                    if isinstance(message, ExitDone):
                        self._exit_done.set()
                    elif isinstance(message, NbrList):
                        self._bridges.take_list(checked_bridges(message.bridges, self._token, time.time()))
                    elif isinstance(message, ErrorMessage) and not message.request:
                        code = message.code
                        reason = f"The bridge ended the link: {message.sentence} ({code})"
                    else:
                        self._handler.on_message(message)
        except _Refused as refused:
            reason = str(refused)
        finally:
            held.cancel()
            self._outbox.close()
            self._outbox = None
            self._attached.clear()
            self._exit_done.set()  # nobody will answer an EXIT any more
            self._bridges.note_lost(self._url, code)
            self._handler.on_lost()
        return reason

    def _take_chunk(self, frame: bytes) -> None:
        try:
            header = unpack_header(frame)
        except ChunkError as error:
            raise _Refused(f"The bridge passed on a wrong frame: {error}") from None
        self._handler.on_chunk(header, memoryview(frame)[HEADER_BYTES:])

    def _move_to(self, state: LinkState, reason: str) -> None:
        self.status = LinkStatus(state, self._url, time.time(), reason)
        # A bridge that is away for a night is one line, not thousands: the tries themselves are for DEBUG.
        what = reason.partition(" Trying ")[0]
        news = state in (LinkState.ATTACHED, LinkState.CLOSED) or (
            state is LinkState.WAITING and what != self._logged_reason
        )
        if news:
            self._logged_reason = what
        log.log(logging.INFO if news else logging.DEBUG, "link to %s is %s %s", self._url, state, reason)


def _words(error: OSError) -> str:
    # asyncio puts the address in the place of the system's words; resolving a name has its own numbers, below zero.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def _message_of(frame: aiohttp.WSMessage) -> Message:
    if frame.type is aiohttp.WSMsgType.ERROR:
        raise _Refused(f"The link to the bridge broke ({frame.data}).")
    if frame.type is not aiohttp.WSMsgType.TEXT:
        raise _Refused("The bridge closed the link before it was ready." if frame.type in _ENDINGS else _NO_CONTROL)
    try:
        return parse(frame.data)
    except MessageError as error:
        raise _Refused(f"The bridge sent a wrong message: {error}") from None


_ENDINGS: Final = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)
_NO_CONTROL: Final = "The bridge sent a frame that is no control message."
