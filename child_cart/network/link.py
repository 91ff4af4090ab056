"""A cart's link to a bridge: attach, read, write, and reattach, here or at another bridge, until the cart leaves.

The link knows nothing of models. A ``LinkHandler`` gets what arrives; ``send`` and ``send_chunk`` carry what leaves.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from contextlib import suppress
from typing import Final

from cart_common.process.tasks import background
from cart_common.websocket.frames import BINARY, Frame
from cart_common.websocket.send_queue import SendQueueClosed, SendQueueFull
from cart_common.wire.chunk import HEADER_BYTES, MAX_FRAME_BYTES, ChunkError, unpack_header
from cart_common.wire.fleet_key import bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import ErrorMessage, Exit, ExitDone, Message, NbrList, PeerType, Role, encode
from cart_common.wire.records import CART_LIFE_S

from .bridge_selection import Attempt, BridgeSelection
from .client_connection import ClientConnection, ConnectionEnded
from .forward_proxy import DIRECT, ForwardProxies
from .handshake import Attachment, BridgeRefused, Handshake, Standing, message_of
from .link_interface import LinkDown, LinkHandler
from .link_state import STEADY_S, LinkState, LinkStatus
from .opening_handshake import NoBridge, connect
from .presence import Presence
from .record_checks import checked_bridges

log = logging.getLogger("cart.link")

# A sending transfer pauses when this much is queued: enough to keep the socket busy, little enough that several
# transfers take turns.
CHUNKS_AHEAD_BYTES: Final = 1024 * 1024
# Well before the last record of this cart expires in the directory.
PUBLISH_EVERY_S: Final = CART_LIFE_S / 2
NO_STANDING: Final = Standing(Role.SHELL, "", 0)


class Link:
    """The connection to a bridge, or to another one when that is lost.

    Args:
        bridges: decides where to attach, and when.
        identity: the cart's key pair.
        fleet_key: the fleet's, or ``OPEN``; proves to the bridge that the cart belongs to the fleet.
        tls: how to trust a ``wss://`` bridge; None for the system's trust store.
        heartbeat_s: seconds between pings.
        connect_timeout_s: seconds for connecting and attaching.
        only: the id of the one bridge to accept, in hexadecimal; empty for any.
        proxies: those through which bridges are reached.

    Attributes:
        standing: what the bridge is told at each attach; ``announce`` changes it.
        status: what the link does.
    """

    def __init__(
        self,
        bridges: BridgeSelection,
        identity: Identity,
        fleet_key: bytes,
        tls: ssl.SSLContext | None,
        heartbeat_s: float,
        connect_timeout_s: float,
        only: str = "",
        proxies: ForwardProxies = DIRECT,
    ) -> None:
        self._bridges = bridges
        self._url = bridges.first
        self._identity = identity
        self._tls = tls
        self._proxies = proxies
        self._fleet_key = fleet_key
        self._token = bridge_token(fleet_key)
        self._handshake = Handshake(identity, self._token, only)
        self._presence = Presence(identity, self._token)
        self._heartbeat_s = heartbeat_s
        self._connect_timeout_s = connect_timeout_s
        self._handler: LinkHandler
        self._logged_reason = ""
        self._reason = ""
        self._refusal = ""
        self._bridge_clock: float | None = None
        self._connection: ClientConnection | None = None
        self._told: Standing | None = None
        self._attachment: Attachment | None = None
        self._held = False
        self._leaving = asyncio.Event()
        self._exit_done = asyncio.Event()
        self._attached = asyncio.Event()
        self.standing = NO_STANDING
        self.status = LinkStatus(LinkState.WAITING, self._url, time.monotonic(), "not started yet")

    @property
    def clock_ahead_s(self) -> float | None:
        """How far this machine's clock is ahead of that of the last bridge, within a second; None before the first.

        The bridge's clock is carried on by the monotonic clock, so setting this machine's clock shows at once.
        """
        return None if self._bridge_clock is None else time.time() - time.monotonic() - self._bridge_clock

    async def run(self, handler: LinkHandler) -> None:
        """Keep the cart attached until ``leave`` is called; the handler gets what arrives."""
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
        """Return a link of the same cart to another bridge; it offers no model there, so no peer is given this cart."""
        only_there = BridgeSelection([url], 1.0, 1.0, time.monotonic, time.time)
        times = (self._heartbeat_s, self._connect_timeout_s)
        link = Link(only_there, self._identity, self._fleet_key, self._tls, *times, bridge_id, self._proxies)
        link.standing = Standing(Role.KERNEL, self.standing.model_signature, 0)
        return link

    async def visit(self, handler: LinkHandler) -> str:
        """Attach once and hold the link until it ends; return why it ended, as a sentence."""
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
            LinkDown: if the cart is not attached, or the bridge does not read.
        """
        connection = self._connection
        if connection is None:
            raise LinkDown("The cart is not attached to a bridge.")
        try:
            connection.send_control(encode(message))
        except SendQueueFull as full:
            raise LinkDown(f"The link to the bridge is stuck: {full}") from None

    async def send_chunk(self, frame: bytearray) -> None:
        """Send a chunk frame, after waiting for its turn. The socket masks ``frame`` in place.

        Raises:
            LinkDown: if the cart is not attached.
        """
        connection = self._connection
        if connection is None:
            raise LinkDown("The cart is not attached to a bridge.")
        try:
            await connection.send_chunk(frame)
        except SendQueueClosed:
            raise LinkDown("The link to the bridge broke.") from None

    def announce(self, standing: Standing) -> None:
        """Tell the bridge the cart's role and model version; without a link the next attach tells it.

        Raises:
            LinkDown: if the bridge does not read.
        """
        self.standing = standing
        if self._connection is not None and standing != self._told:
            self.send(PeerType(standing.role, standing.model_version))
            self._told = standing
            self._tell_presence()

    def _publish(self) -> None:
        """Publish a new record of where this cart is, so that other carts go on finding it."""
        self._presence.renew()
        self._tell_presence()

    async def stay_published(self) -> None:
        """Renew the record by which other carts find this one, well before it expires, until cancelled."""
        while True:
            await asyncio.sleep(PUBLISH_EVERY_S)
            with suppress(LinkDown):
                self._publish()

    def _tell_presence(self) -> None:
        told, there = self._told, self._attachment
        if self._connection is None or told is None or there is None:
            return
        bridge = (there.welcome.bridge_id, there.url)
        news = self._presence.news(*bridge, told.role, told.model_signature, told.model_version)
        if news is not None:
            self.send(news)

    def move(self, url: str) -> None:
        """Go from the bridge where the cart is attached to another one; without a link this does nothing."""
        if self._connection is not None:
            self._bridges.first = url
            self._connection.end(f"This cart goes to {url}, which is nearer or has more room.")

    async def leave(self, timeout_s: float) -> None:
        """Tell the bridge that the cart leaves, and stop reattaching."""
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
        """Make one connection and hold it until it ends; return why it ended, as a sentence."""
        self._move_to(LinkState.CONNECTING, self.status.reason)
        try:
            async with asyncio.timeout(self._connect_timeout_s) as deadline:
                connection = ClientConnection(MAX_FRAME_BYTES, CHUNKS_AHEAD_BYTES)
                bridge_time = await connect(self._url, self._tls, connection, self._proxies)
                if bridge_time is not None:
                    self._bridge_clock = bridge_time - time.monotonic()
                try:
                    self._move_to(LinkState.ATTACHING, self.status.reason)
                    self._told = self.standing
                    self._attachment = await self._handshake.attach(connection, self._url, self._told)
                    deadline.reschedule(None)
                    if self._leaving.is_set():
                        return "The cart is stopping."
                    return await self._hold(connection, self._attachment)
                finally:
                    await connection.close()
        except TimeoutError:
            # A bridge holds back its answer to an address that it has refused often: the refusal stays the reason.
            late = f"The bridge at {self._url} did not answer within {self._connect_timeout_s:g} s."
            return f"{late} Before that: {self._refusal}" if self._refusal else late
        except BridgeRefused as refused:
            self._refusal = str(refused)
            return self._refusal
        except (NoBridge, ConnectionEnded) as end:
            return str(end)

    async def _hold(self, connection: ClientConnection, there: Attachment) -> str:
        """Serve an attached link until it ends."""
        self._connection = connection
        self._refusal = ""
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
                self._publish()
                self.announce(self.standing)  # it may have changed during the handshake
                self._handler.on_attached(there.welcome, there.round_trip_s)
                await connection.hand_over(take)
        except ConnectionEnded as end:
            return f"The bridge ended the link: {last_words.sentence} ({last_words.code})" if last_words else str(end)
        finally:
            held.cancel()
            self._connection = None
            self._attached.clear()
            self._exit_done.set()  # an EXIT gets no answer any more
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
        """Change the state, and log that; the only place where it changes."""
        self.status = self.status.followed_by(state, self._url, reason)
        # A bridge that is away for a night gives one line, not thousands: the single tries are logged at DEBUG.
        what = reason.partition(" Trying ")[0]
        news = state in (LinkState.ATTACHED, LinkState.CLOSED) or (
            state is LinkState.WAITING and what != self._logged_reason
        )
        if news:
            self._logged_reason = what
        log.log(
            logging.INFO if news else logging.DEBUG, "link to %s is %s%s", self._url, state, reason and f": {reason}"
        )
