"""The WebSocket side of the bridge: one reader and one writer per cart. Decides nothing; asks the hub.

A chunk is passed on as the very bytes object that came in; only its header is read.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from child_cart.network.chunk import MAX_FRAME_BYTES, ChunkError, unpack_header
from child_cart.network.identity import attach_statement, cart_id_of, signature_is_valid
from child_cart.network.messages import (
    PROTOCOL_VERSION,
    Attach,
    Attached,
    Code,
    ErrorMessage,
    Exit,
    ExitDone,
    Message,
    MessageError,
    Welcome,
    encode,
    parse,
)
from child_cart.network.outbox import Outbox, OutboxFull
from child_cart.network.tasks import background

from .admission import Admission
from .hub import Hub
from .rules import Delivery, Violation

log = logging.getLogger("bridge.relay")
FAREWELL_S = 2.0
SWEEP_S = 1.0
UNATTACHED_MOST = 500


class Connection:
    """One attached cart's socket and what waits to be written to it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, outbox: Outbox) -> None:
        self.socket = socket
        self.outbox = outbox
        self.replaced = False
        self.cut_off = False
        self._transport = transport

    @property
    def closing(self) -> bool:
        """Whether the link is being broken or closed."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """Break the link at once, without the closing handshake that a dead other side would never answer."""
        self._transport.abort()


class Relay:
    """Accept carts at ``/v1/cart`` and move their frames."""

    def __init__(self, hub: Hub, admission: Admission, attach_timeout_s: float, heartbeat_s: float) -> None:
        self.bridge_id = os.urandom(16)
        self._hub = hub
        self._admission = admission
        self._attach_timeout_s = attach_timeout_s
        self._heartbeat_s = heartbeat_s
        self._connections: dict[str, Connection] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._stopping = False

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one cart from its first frame to its last."""
        address = request.remote or "?"
        if not self._admission.may_try(address):
            self._hub.counters["turned_away"] += 1
            raise web.HTTPTooManyRequests(text="Too many attaches from this address have failed. Try again later.")
        if len(self._sockets) >= self._hub.limits.max_carts + UNATTACHED_MOST:
            self._hub.counters["turned_away"] += 1
            raise web.HTTPServiceUnavailable(text="This bridge has its most connections; try another one.")
        # permessage-deflate is on by default in aiohttp and costs many times the relaying; weights barely shrink.
        socket = web.WebSocketResponse(heartbeat=self._heartbeat_s, compress=False, max_msg_size=MAX_FRAME_BYTES + 1)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            attach = await self._admit(socket)
            if attach is not None:
                await self._serve(request, socket, attach)
        except Violation as violation:
            self._hub.counters["violations"] += 1
            if violation.code in (Code.BAD_SIGNATURE, Code.NOT_ADMITTED):
                self._admission.note_failure(address)
            log.warning("refused a connection from %s: %s (%s)", address, violation, violation.code)
            await self._say_goodbye(socket, violation)
        finally:
            self._sockets.discard(socket)
            await self._hang_up(request, socket)
        return socket

    async def _admit(self, socket: web.WebSocketResponse) -> Attach | None:
        """Greet a connection and check its key; None if it goes away before it attaches."""
        nonce = os.urandom(32)
        limits = self._hub.limits
        await socket.send_str(
            encode(
                Welcome(
                    PROTOCOL_VERSION,
                    self.bridge_id.hex(),
                    nonce.hex(),
                    limits.max_chunk_bytes,
                    limits.max_window_bytes,
                )
            )
        )
        try:
            frame = await socket.receive(timeout=self._attach_timeout_s)
        except TimeoutError:
            raise Violation(Code.ATTACH_TIMEOUT, f"No ATTACH came within {self._attach_timeout_s:g} s.") from None
        if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        message = _message_of(frame)
        if not isinstance(message, Attach):
            raise Violation(Code.UNEXPECTED_MESSAGE, f"The first message is to be ATTACH; {message.KIND} came.")
        if message.version != PROTOCOL_VERSION:
            raise Violation(
                Code.WRONG_VERSION, f"This bridge speaks version {PROTOCOL_VERSION}, the cart {message.version}."
            )
        statement = attach_statement(nonce, self.bridge_id)
        public_key = bytes.fromhex(message.public_key)
        if not signature_is_valid(public_key, bytes.fromhex(message.signature), statement):
            raise Violation(Code.BAD_SIGNATURE, "The signature over nonce and bridge id is not this key's.")
        if not self._admission.proves(bytes.fromhex(message.proof), statement + public_key):
            raise Violation(Code.NOT_ADMITTED, "The cart does not hold the key of the fleet that this bridge serves.")
        if self._stopping:
            raise Violation(Code.BRIDGE_STOPPING, "This bridge is stopping.")
        return message

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, attach: Attach) -> None:
        cart_id = cart_id_of(bytes.fromhex(attach.public_key)).hex()
        earlier = self._detach(cart_id, self._hub.lose)
        if earlier is not None:
            earlier.replaced = True
        assert request.transport is not None
        reminders = self._hub.attach(cart_id, attach.role, attach.model_signature, attach.model_version)
        limits = self._hub.limits
        # Credit bounds what can wait for one cart; the outbox holds that much and no more.
        outbox = Outbox(limits.max_transfers_per_cart * (limits.max_window_bytes + 2 * limits.max_chunk_bytes))
        connection = Connection(socket, request.transport, outbox)
        self._connections[cart_id] = connection
        log.info("cart %s attached from %s as %s", cart_id, request.remote, attach.role)
        outbox.put_control(encode(Attached(cart_id)))
        self._deliver(reminders)
        reason, goes = "its link broke", self._hub.lose
        try:
            writer = outbox.write_to(socket.send_str, socket.send_bytes)
            async with background(writer), background(self._see_off(earlier)):
                reason = await self._read(socket, cart_id, connection)
            goes = self._hub.leave if connection.cut_off else self._hub.lose
        except Violation as violation:
            reason, goes = f"{violation} ({violation.code})", self._hub.leave
            raise
        except OutboxFull as full:
            reason = str(full)
            raise Violation(Code.SLOW_READER, reason) from None
        finally:
            if self._connections.get(cart_id) is connection:
                self._detach(cart_id, goes)
            log.info("cart %s left: %s", cart_id, reason)

    async def _read(self, socket: web.WebSocketResponse, cart_id: str, connection: Connection) -> str:
        """Take frames until the cart goes; return why it went."""
        async for frame in socket:
            if connection.replaced:
                break
            if frame.type is WSMsgType.BINARY:
                self._pass_on(cart_id, frame.data)
                continue
            if frame.type is WSMsgType.ERROR and not isinstance(frame.data, WebSocketError):
                return f"its link broke ({frame.data})"
            message = _message_of(frame)
            if isinstance(message, Exit):
                self._detach(cart_id, self._hub.leave)
                connection.outbox.put_control(encode(ExitDone()))
                with suppress(TimeoutError):
                    await asyncio.wait_for(connection.outbox.flushed(), FAREWELL_S)
                return "it said EXIT"
            self._deliver(self._hub.receive(cart_id, message))
        if connection.replaced:
            return "the same cart has attached again"
        return f"its link closed ({socket.close_code})"

    def _pass_on(self, cart_id: str, frame: bytes) -> None:
        try:
            header = unpack_header(frame)
        except ChunkError as error:
            raise Violation(Code.BAD_CHUNK, str(error)) from None
        destination = self._hub.route(cart_id, header, len(frame))
        if destination is None:
            return
        try:
            self._connections[destination].outbox.put_chunk(frame)
        except OutboxFull as full:
            self._cut_off(destination, full)

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            connection = self._connections.get(delivery.cart_id)
            if connection is None:
                continue
            try:
                connection.outbox.put_control(encode(delivery.message))
            except OutboxFull as full:
                self._cut_off(delivery.cart_id, full)

    def _cut_off(self, cart_id: str, full: OutboxFull) -> None:
        """Break the link of a cart that does not read; its reader ends with it, the one that sent is not disturbed."""
        connection = self._connections[cart_id]
        if not connection.closing:
            self._hub.counters["slow_readers"] += 1
            log.warning("cart %s is cut off: %s (%s)", cart_id, full, Code.SLOW_READER)
            connection.cut_off = True
            connection.abort()

    def _detach(self, cart_id: str, goes: Callable[[str], list[Delivery]]) -> Connection | None:
        """Deregister a cart as the hub is to take its going, and tell its peers; return the connection that it had."""
        connection = self._connections.pop(cart_id, None)
        if connection is not None:
            self._deliver(goes(cart_id))
        return connection

    async def _see_off(self, earlier: Connection | None) -> None:
        """Tell a cart's earlier link that it is replaced: most often it is dead, but a copied key is worth a word."""
        if earlier is None:
            return
        try:
            await self._say_goodbye(earlier.socket, Violation(Code.REPLACED, "The same cart has attached again."))
        finally:
            earlier.abort()

    async def sweep(self) -> None:
        """End silent transfers, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self._deliver(self._hub.expire())

    async def _say_goodbye(self, socket: web.WebSocketResponse, violation: Violation) -> None:
        with suppress(ConnectionError, TimeoutError, RuntimeError):
            async with asyncio.timeout(FAREWELL_S):
                await socket.send_str(encode(ErrorMessage(violation.code, violation.sentence)))
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=violation.code.encode())

    async def _hang_up(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await socket.close()
        # What is not read by now never is: a socket that waits for it would stay, uncounted, as long as its cart likes.
        if request.transport is not None and request.transport.get_write_buffer_size():
            request.transport.abort()

    async def close(self) -> None:
        """Refuse new carts, tell the attached ones that the bridge stops, and close their sockets."""
        self._stopping = True
        goodbye = Violation(Code.BRIDGE_STOPPING, "This bridge is stopping.")
        await asyncio.gather(*(self._say_goodbye(socket, goodbye) for socket in list(self._sockets)))


def _message_of(frame: WSMessage) -> Message:
    if frame.type is WSMsgType.ERROR:
        raise Violation(Code.BAD_MESSAGE, str(frame.data))
    if frame.type is not WSMsgType.TEXT:
        raise Violation(Code.UNEXPECTED_MESSAGE, f"A {frame.type.name} frame came where a control message was due.")
    try:
        return parse(frame.data)
    except MessageError as error:
        raise Violation(Code.BAD_MESSAGE, str(error)) from None
