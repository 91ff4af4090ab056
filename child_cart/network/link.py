"""A cart's connection to a bridge: attach, read, write, and come back by itself, here or elsewhere, for ever.

Knows nothing of models. What arrives goes to a ``LinkHandler``; what is to leave goes through ``send``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from cart_common.process.tasks import background
from cart_common.websocket.frames import BINARY, Frame
from cart_common.websocket.send_queue import SendQueueClosed, SendQueueFull, SharedSendQueue
from cart_common.wire.chunk import HEADER_BYTES, MAX_FRAME_BYTES, ChunkError, ChunkHeader, unpack_header
from cart_common.wire.fleet_key import bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import ErrorMessage, Exit, ExitDone, Message, NbrList, PeerType, Role, Welcome, encode

from .bridge_selection import Attempt, BridgeSelection
from .client_connection import ClientConnection, ConnectionEnded, NoBridge, connect
from .handshake import Attachment, BridgeRefused, Handshake, Standing, message_of
from .presence import Presence
from .record_checks import checked_bridges

log = logging.getLogger("cart.link")

# What waits on this side before a sending transfer pauses: enough to keep the socket busy, little enough that
# several transfers take turns.
CHUNKS_AHEAD_BYTES: Final = 1024 * 1024
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


class LinkHandler(Protocol):
    """Who is told what arrives."""

    def on_attached(self, welcome: Welcome, round_trip_s: float) -> None:
        """Take note that messages can be sent, and how long the bridge took to answer."""

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
        bridges: BridgeSelection,
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
        self._handshake = Handshake(identity, self._token, only)
        self._presence = Presence(identity, self._token)
        self._standing = standing
        self._heartbeat_s = heartbeat_s
        self._connect_timeout_s = connect_timeout_s
        self._handler: LinkHandler
        self._logged_reason = ""
        self._reason = ""
        self._connection: ClientConnection | None = None
        self._send_queue = SharedSendQueue(0)
        self._told: Standing | None = None
        self._attachment: Attachment | None = None
        self._held = False
        self._leaving = asyncio.Event()
        self._exit_done = asyncio.Event()
        self._attached = asyncio.Event()
        self.status = LinkStatus(LinkState.WAITING, self._url, time.time(), "not started yet")

    async def run(self, handler: LinkHandler) -> None:
        """Keep the cart attached until ``leave`` has been called; the handler is told what arrives."""
        self._handler = handler
        while not self._leaving.is_set():
            following = self._bridges.next_try()
            await self._wait_to_try(following)
            if self._leaving.is_set():
                break
            self._url, self._held = following.url, False
            self._reason = await self._attach_once()
            if not self._held:
                self._bridges.note_failed(self._url)
        self._move_to(LinkState.CLOSED, "the cart is stopping")

    def to_visit(self, url: str, bridge_id: str) -> Link:
        """Return a link of the same cart to another bridge, on which it has nothing to offer: nobody is to pick it."""

        def standing() -> Standing:
            return Standing(Role.KERNEL, self._standing().model_signature, 0)

        only_there = BridgeSelection([url], 1.0, 1.0, time.monotonic, time.time)
        times = (self._heartbeat_s, self._connect_timeout_s)
        return Link(only_there, self._identity, self._fleet_key, self._tls, standing, *times, bridge_id)

    async def visit(self, handler: LinkHandler) -> str:
        """Attach once, until the link ends or is left; return why it has ended, as a sentence."""
        self._handler = handler
        self._url = self._bridges.next_try().url
        reason = await self._attach_once()
        self._move_to(LinkState.CLOSED, reason)
        return reason

    async def _wait_to_try(self, following: Attempt) -> None:
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
        connection = self._connection
        if connection is None:
            raise LinkDown("The cart is not attached to a bridge.")
        try:
            self._send_queue.put_control(encode(message))
        except SendQueueFull as full:
            # A message that is lost may be one that a transfer waits for; a link that is lost is taken up again.
            connection.break_off("the bridge does not read")
            raise LinkDown(f"The link to the bridge is stuck: {full}") from None
        connection.socket.flush()

    async def send_chunk(self, frame: bytearray) -> None:
        """Send a chunk frame, after waiting for its turn. What is in ``frame`` is masked on its way.

        Raises:
            LinkDown: if the cart is not attached.
        """
        connection = self._connection
        if connection is None:
            raise LinkDown("The cart is not attached to a bridge.")
        try:
            await self._send_queue.put_chunk_when_room(frame)
        except SendQueueClosed:
            raise LinkDown("The link to the bridge broke.") from None
        connection.socket.flush()
        # A socket that takes all at once is no reason to send all of one transfer before the next one's turn.
        await asyncio.sleep(0)

    def announce(self) -> None:
        """Tell the bridge the present role and model version; without a link the next attach tells it."""
        standing = self._standing()
        if self._connection is not None and standing != self._told:
            self.send(PeerType(standing.role, standing.model_version))
            self._told = standing
            self._tell_presence()

    def publish(self) -> None:
        """Let other carts go on finding this one; called well before its last record expires."""
        self._presence.renew()
        self._tell_presence()

    def _tell_presence(self) -> None:
        told, there = self._told, self._attachment
        if self._connection is None or told is None or there is None:
            return
        bridge = (there.welcome.bridge_id, there.url)
        news = self._presence.news(*bridge, told.role, told.model_signature, told.model_version)
        if news is not None:
            self.send(news)

    def move(self, url: str) -> None:
        """Go from the bridge where the cart is attached to another one; without a link there is nothing to do."""
        if self._connection is not None:
            self._bridges.first = url
            self._connection.end(f"This cart goes to {url}, which is nearer or has more room.")

    async def leave(self, timeout_s: float) -> None:
        """Tell the bridge that the cart goes, and stop coming back."""
        self._leaving.set()
        if self._connection is None:
            return
        self._exit_done.clear()
        try:
            farewell = self._presence.farewell()
            if farewell is not None:
                self.send(farewell)
            self.send(Exit())
            async with asyncio.timeout(timeout_s):
                await self._exit_done.wait()
        except TimeoutError:
            log.info("the bridge did not answer EXIT within %g s", timeout_s)
        except LinkDown as down:
            log.info("the bridge was not told EXIT: %s", down)

    async def _attach_once(self) -> str:
        """Hold one connection from its beginning to its end; return why it ended, as a sentence."""
        self._move_to(LinkState.CONNECTING, self.status.reason)
        self._send_queue = SharedSendQueue(CHUNKS_AHEAD_BYTES)
        try:
            async with asyncio.timeout(self._connect_timeout_s) as deadline:
                connection = ClientConnection(MAX_FRAME_BYTES, self._send_queue)
                await connect(self._url, self._tls, connection)
                try:
                    self._move_to(LinkState.ATTACHING, self.status.reason)
                    self._told = self._standing()
                    self._attachment = await self._handshake.attach(connection, self._send_queue, self._url, self._told)
                    deadline.reschedule(None)
                    if self._leaving.is_set():
                        return "The cart is stopping."
                    return await self._hold(connection, self._attachment)
                finally:
                    await connection.close()
        except TimeoutError:
            return f"The bridge at {self._url} did not answer within {self._connect_timeout_s:g} s."
        except (NoBridge, BridgeRefused, ConnectionEnded) as end:
            return str(end)

    async def _hold(self, connection: ClientConnection, there: Attachment) -> str:
        """Serve an attached link until it ends."""
        self._connection = connection
        self._move_to(LinkState.ATTACHED, "")
        held = asyncio.get_running_loop().call_later(STEADY_S, self._bridges.note_steady, self._url)
        self._held = True
        self._bridges.note_attached(self._url, there.welcome.bridge_id, there.round_trip_s)
        self._attached.set()
        last_words: ErrorMessage | None = None

        def take(frame: Frame) -> None:
            nonlocal last_words
            if frame.opcode == BINARY:
                self._take_chunk(frame)
                return
            message = message_of(frame)
            if isinstance(message, ExitDone):
                self._exit_done.set()
            elif isinstance(message, NbrList):
                self._bridges.take_list(checked_bridges(message.bridges, self._token, time.time()))
            elif isinstance(message, ErrorMessage) and not message.request:
                last_words = message
            else:
                self._handler.on_message(message)

        try:
            async with background(connection.watch(self._heartbeat_s)):
                self.publish()
                self.announce()  # it may have changed during the handshake
                self._handler.on_attached(there.welcome, there.round_trip_s)
                await connection.hand_over(take)
        except ConnectionEnded as end:
            return f"The bridge ended the link: {last_words.sentence} ({last_words.code})" if last_words else str(end)
        finally:
            held.cancel()
            self._send_queue.close()
            self._connection = None
            self._attached.clear()
            self._exit_done.set()  # nobody will answer an EXIT any more
            self._bridges.note_lost(self._url, last_words.code if last_words else None)
            self._handler.on_lost()
        raise AssertionError("a link that is handed over ends with an exception")

    def _take_chunk(self, frame: Frame) -> None:
        try:
            header = unpack_header(frame.data, frame.start)
        except ChunkError as error:
            raise BridgeRefused(f"The bridge passed on a wrong frame: {error}") from None
        self._handler.on_chunk(header, frame.payload[HEADER_BYTES:])

    def _move_to(self, state: LinkState, reason: str) -> None:
        self.status = LinkStatus(state, self._url, time.time(), reason)
        # A bridge that is away for a night is one line, not thousands: the tries themselves are for DEBUG.
        what = reason.partition(" Trying ")[0]
        news = state in (LinkState.ATTACHED, LinkState.CLOSED) or (
            state is LinkState.WAITING and what != self._logged_reason
        )
        if news:
            self._logged_reason = what
        log.log(
            logging.INFO if news else logging.DEBUG, "link to %s is %s%s", self._url, state, reason and f": {reason}"
        )
