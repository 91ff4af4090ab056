"""Moves frames between the carts' connections and the hub, which decides what passes.

A chunk is passed on in the buffer in which it came; only its header is read.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from aiohttp import web

from cart_common.process.account import account_of
from cart_common.websocket.fair_reading import FairReading
from cart_common.websocket.frames import BINARY, POLICY_VIOLATION, Frame, FrameError, text_of
from cart_common.websocket.send_queue import SendQueue, SendQueueFull
from cart_common.websocket.socket import FAREWELL_S
from cart_common.wire.chunk import MAX_FRAME_BYTES, ChunkError, unpack_header
from cart_common.wire.identity import cart_id_of
from cart_common.wire.messages import (
    PROTOCOL_VERSION,
    Attached,
    Code,
    ErrorMessage,
    Exit,
    ExitDone,
    Message,
    MessageError,
    Seek,
    Welcome,
    Whereabouts,
    encode,
    parse,
)

from ..bridge.accounts import AccountBuckets
from ..bridge.admission import Admission
from ..bridge.allowance import Allowance, RateLimits
from ..bridge.budget import STALLED_S
from ..bridge.hub import Hub
from ..bridge.neighbourhood import Neighbourhood
from ..bridge.rules import Delivery, Violation
from .cart_connection import CartConnection, Phase
from .departure import Departure
from .http_connections import accept
from .neighbour_service import NeighbourService
from .strangers import NoPlace, Strangers

log = logging.getLogger("bridge.relay")
SWEEP_S = 1.0
CLOSE_SPARE_S = 0.5


class Relay:
    """Accept carts at ``/v1/cart`` and move their frames.

    Args:
        bridge_id: this bridge's id, 16 bytes.
        hub: decides what may pass.
        admission: decides which carts may attach.
        neighbourhood: knows of other bridges.
        attach_timeout_s: seconds in which a new connection must attach.
        heartbeat_s: seconds between pings to a silent cart.
        rates: how much one cart may send.
    """

    def __init__(
        self,
        bridge_id: bytes,
        hub: Hub,
        admission: Admission,
        neighbourhood: Neighbourhood,
        attach_timeout_s: float,
        heartbeat_s: float,
        rates: RateLimits,
    ) -> None:
        self.bridge_id = bridge_id
        self._hub = hub
        self._admission = admission
        self._neighbour_service = NeighbourService(neighbourhood, hub, self._say_to)
        self._attach_timeout_s = attach_timeout_s
        self._heartbeat_s = heartbeat_s
        self._rates = rates
        self._connections: dict[str, CartConnection] = {}
        self._sockets: set[CartConnection] = set()
        self._strangers = Strangers()
        self._allowances: AccountBuckets[Allowance] = AccountBuckets(
            partial(Allowance, rates), 2 * hub.limits.max_carts
        )
        self._emptied = asyncio.Event()
        self.fair_reading = FairReading()
        self._stopping = False
        self.url = ""
        """Where carts reach this bridge, once that is known."""

    # A connection comes and goes.

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take over a connection that asks for a WebSocket."""
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", ()))
        address = self._admission.client_address(request.remote or "?", forwarded_for)
        loop = asyncio.get_running_loop()
        try:
            displaced = self._strangers.displaced_by(address, loop.time())
        except NoPlace:
            self._hub.counters["turned_away"] += 1
            raise web.HTTPServiceUnavailable(
                text="Too many connections come at once to this bridge; try again, or try another one."
            ) from None
        if not self._admission.may_enter(address):
            self._hub.counters["turned_away"] += 1
            most = self._admission.max_connections
            raise web.HTTPTooManyRequests(text=f"This address has {most} connections, the most that one may have.")
        limits = self._hub.limits
        # Credit bounds what can wait for one cart; the queue holds that much and no more.
        send_queue = SendQueue(limits.max_transfers_per_cart * (limits.max_window_bytes + 2 * limits.max_chunk_bytes))
        # The strangers of one address share the time as if they were one cart.
        account = self.fair_reading.account(account_of(address=address))
        connection = CartConnection(self, address, send_queue, Allowance(self._rates, loop.time()), account)
        # Counted before the handshake, which may wait: many at once must not pass the limit together.
        self._sockets.add(connection)
        self._admission.enter(address)
        try:
            answer = await accept(request, connection.socket)
        except BaseException:
            self.forget(connection, "the opening handshake failed")
            raise
        if displaced is not None:
            self._hub.counters["strangers_displaced"] += 1
            self._strangers.remove(displaced)
            displaced.abort()
        self._strangers.add(connection, loop.time())
        connection.attach_timer = loop.call_later(self._attach_timeout_s, self._attach_is_late, connection)
        self._say(
            connection,
            Welcome(
                PROTOCOL_VERSION,
                self.bridge_id.hex(),
                connection.nonce.hex(),
                limits.max_chunk_bytes,
                limits.max_window_bytes,
                self.url,
            ),
        )
        if self._stopping:
            self.refuse(connection, _stopping())
        return answer

    def _attach_is_late(self, connection: CartConnection) -> None:
        late = Violation(Code.ATTACH_TIMEOUT, f"No ATTACH came within {self._attach_timeout_s:g} s.")
        self.refuse(connection, late)

    def refuse(self, connection: CartConnection, violation: Violation, close_code: int = POLICY_VIOLATION) -> None:
        """Tell a cart what it did wrong, and close its connection."""
        if violation.code is not Code.BRIDGE_STOPPING:
            self._hub.counters["violations"] += 1
            self._hub.counters[f"violations_{violation.code.lower()}"] += 1
        connection.keeps_transfers = False
        failed = violation.code in (Code.BAD_SIGNATURE, Code.NOT_ADMITTED)
        wait_s = self._admission.note_failure(connection.address) if failed else 0.0
        if not wait_s:
            log.warning("refused a connection from %s: %s (%s)", connection.address, violation, violation.code)
            self._say_goodbye(connection, violation, close_code)
            return
        # Without a log line: an address that fails this often would fill the log.
        self._hub.counters["answers_held_back"] += 1
        self._leave(connection, f"{violation} ({violation.code})")
        wait_s = min(wait_s, self._attach_timeout_s)
        connection.socket.hold(wait_s)
        asyncio.get_running_loop().call_later(wait_s, self._say_goodbye, connection, violation, close_code)

    def break_protocol(self, connection: CartConnection, error: FrameError) -> None:
        """Let a cart go that does not keep to RFC 6455."""
        self.refuse(connection, Violation(Code.BAD_MESSAGE, str(error)), error.close_code)

    def _say_goodbye(self, connection: CartConnection, why: Violation, close_code: int = POLICY_VIOLATION) -> None:
        self._leave(connection, f"{why} ({why.code})")
        connection.socket.close(encode(ErrorMessage(why.code, why.sentence)), close_code, why.code)

    def _leave(self, connection: CartConnection, reason: str) -> None:
        """End the part of a connection in the bridge; tell the peers of its cart."""
        if connection.phase is Phase.LEAVING:
            return
        was_attached = connection.phase is Phase.ATTACHED
        connection.move_to(Phase.LEAVING)
        if was_attached:
            log.info("cart %s left: %s", connection.cart_id, reason)
            del self._connections[connection.cart_id]
            go = self._hub.lose if connection.keeps_transfers else self._hub.leave
            self._deliver(go(connection.cart_id))
            self._neighbour_service.forget(connection.cart_id)

    def forget(self, connection: CartConnection, reason: str) -> None:
        """Forget a connection that is gone; a second call changes nothing."""
        if connection not in self._sockets:
            return
        self._leave(connection, reason)
        # A dead link does not answer the close frame. One that does was alive: two carts run with this key.
        if connection.replaced_from and connection.socket.close_code is not None:
            log.warning(
                "cart %s runs twice: its link from %s was alive when it attached from %s; was its data folder copied?",
                *(connection.cart_id, connection.address, connection.replaced_from),
            )
        self._sockets.discard(connection)
        self._strangers.remove(connection)
        self._admission.leave(connection.address)
        if not self._sockets:
            self._emptied.set()

    # Frames come.

    def take(self, connection: CartConnection, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take what one read of a connection brought."""
        wait_s = self._spend(connection, frames, read_bytes)
        touched: dict[str, CartConnection] = {}
        broken = None
        try:
            for frame in messages:
                if connection.phase is Phase.LEAVING:
                    break
                if frame.opcode == BINARY and connection.phase is Phase.ATTACHED:
                    self._pass_on(connection.cart_id, frame, touched)
                else:
                    self._take_message(connection, _message_of(frame))
        except Violation as violation:
            broken = violation
        # Once for all that was read: writing many chunks costs little more than writing one.
        for receiver in touched.values():
            receiver.socket.flush()
            self.note_waiting(receiver)
        if broken is not None:
            self.refuse(connection, broken)
        elif connection.phase is Phase.ATTACHED:
            chunks = sum(frame.opcode == BINARY for frame in messages)
            wait_s = max(wait_s, self._hub.take_messages(connection.cart_id, frames - chunks))
        if wait_s:
            connection.socket.hold(wait_s)

    def _spend(self, connection: CartConnection, frames: int, read_bytes: int) -> float:
        """Take frames and bytes from an allowance; return for how many seconds to read no more."""
        if not self._rates.is_any:
            return 0.0
        now = asyncio.get_running_loop().time()
        attached = connection.phase is Phase.ATTACHED
        # A stranger has its own; those of one account share one.
        own = self._allowances.of(self._hub.accounts[connection.cart_id], now) if attached else connection.allowance
        return own.spend(frames, read_bytes, now)

    def _take_message(self, connection: CartConnection, message: Message) -> None:
        if connection.phase is Phase.GREETED:
            self._attach(connection, message)
        elif isinstance(message, Exit):
            connection.keeps_transfers = False
            self._leave(connection, "it said EXIT")
            connection.socket.close(encode(ExitDone()))
        elif isinstance(message, Whereabouts | Seek):
            self._neighbour_service.take(connection.cart_id, message)
        else:
            self._deliver(self._hub.receive(connection.cart_id, message))

    def _attach(self, connection: CartConnection, message: Message) -> None:
        attach = self._admission.check(message, connection.nonce, self.bridge_id)
        if self._stopping:
            raise _stopping()
        cart_id = cart_id_of(bytes.fromhex(attach.public_key)).hex()
        earlier = self._connections.get(cart_id)
        if earlier is not None:
            # Most often the earlier link is dead; if the key was copied, its cart should know.
            earlier.replaced_from = "" if earlier.socket.closing else connection.address
            self._say_goodbye(earlier, Violation(Code.REPLACED, "The same cart has attached again."))
        waiting = self._hub.attach(cart_id, attach.role, attach.model_signature, attach.model_version, attach.task)
        connection.move_to(Phase.ATTACHED)
        connection.cart_id, connection.nonce = cart_id, b""
        connection.socket.take_up_to(MAX_FRAME_BYTES)
        connection.socket.charge_to(self.fair_reading.account(self._hub.accounts[cart_id]))
        self._strangers.remove(connection)
        self._connections[cart_id] = connection
        log.info("cart %s attached from %s as %s", cart_id, connection.address, attach.role)
        self._say(connection, Attached(cart_id))
        self._deliver(waiting)
        self._neighbour_service.tell(connection.cart_id)

    # Frames go.

    def note_waiting(self, connection: CartConnection) -> None:
        """Tell the hub how much waits for a cart, and send the credit that has room now."""
        if connection.phase is Phase.ATTACHED:
            self._deliver(self._hub.note_waiting(connection.cart_id, connection.socket.waiting_bytes))

    def _pass_on(self, cart_id: str, frame: Frame, touched: dict[str, CartConnection]) -> None:
        try:
            header = unpack_header(frame.data, frame.start)
        except ChunkError as error:
            raise Violation(Code.BAD_CHUNK, str(error)) from None
        destination = self._hub.route(cart_id, header, len(frame.data) - frame.start)
        if destination is None:
            return
        receiver = self._connections[destination]
        try:
            receiver.send_queue.put_chunk(frame.data)
        except SendQueueFull as full:
            self._cut_off(receiver, full)
        else:
            touched[destination] = receiver

    def _say(self, connection: CartConnection, message: Message) -> None:
        try:
            connection.send_queue.put_control(encode(message))
        except SendQueueFull as full:
            self._cut_off(connection, full)
        else:
            connection.socket.flush()

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._say_to(delivery.cart_id, delivery.message)

    def _say_to(self, cart_id: str, message: Message) -> None:
        connection = self._connections.get(cart_id)
        if connection is not None:
            self._say(connection, message)

    def _cut_off(self, connection: CartConnection, full: SendQueueFull) -> None:
        """Break the link of a cart that does not read; the sender is not disturbed."""
        if not connection.socket.closing:
            self._hub.counters["slow_readers"] += 1
            log.warning("cart %s is cut off: %s (%s)", connection.cart_id, full, Code.SLOW_READER)
            connection.keeps_transfers = False
            connection.abort()

    def _break_stalled(self, connection: CartConnection) -> None:
        """Break the link of a cart that drains nothing while others need the room; it may come back and go on."""
        self._hub.counters["stalled_readers"] += 1
        log.warning(
            "cart %s has read nothing for %g s while others wait: its link is broken", connection.cart_id, STALLED_S
        )
        connection.abort()

    # Time passes.

    async def sweep(self) -> None:
        """Ping silent carts, break dead links and end idle transfers, until it is cancelled."""
        # One timer for all: a timer for each cart would cost more than the pings.
        while True:
            await asyncio.sleep(min(SWEEP_S, self._heartbeat_s / 4))
            now = asyncio.get_running_loop().time()
            for connection in list(self._sockets):
                connection.check_alive(now, self._heartbeat_s)
            for cart_id in self._hub.transfers.stalled():
                if cart_id in self._connections:
                    self._break_stalled(self._connections[cart_id])
            self._deliver(self._hub.expire())
            self._neighbour_service.sweep(self._connections.keys())

    async def send_away(self, most_s: float, hurried: asyncio.Event) -> None:
        """Accept no more carts, begin no more clusters, and send the carts to other bridges as their transfers end.

        Without another bridge, only wait for the transfers. ``close`` ends what is left.

        Args:
            most_s: seconds after which it ends, whatever is still under way.
            hurried: ends it when it is set.
        """
        self._stopping = self._hub.is_closing = True
        departure = Departure(self._connections, self._hub.transfers.is_busy, self._send_elsewhere)
        await departure.run(self._neighbour_service.knows_others(), most_s, hurried)

    def _send_elsewhere(self, connection: CartConnection) -> None:
        self._neighbour_service.tell(connection.cart_id)
        self._say_goodbye(connection, _stopping())

    async def close(self) -> None:
        """Refuse new carts, tell the attached ones that the bridge stops, and close their sockets."""
        self._stopping = True
        for connection in list(self._sockets):
            self._say_goodbye(connection, _stopping())
        await self._neighbour_service.close()
        with suppress(TimeoutError):
            # Each of these sockets is gone by then. New ones are not waited for: there might be no end of them.
            async with asyncio.timeout(FAREWELL_S + CLOSE_SPARE_S):
                while self._sockets:
                    self._emptied.clear()
                    await self._emptied.wait()


def _stopping() -> Violation:
    return Violation(Code.BRIDGE_STOPPING, "This bridge is stopping.")


def _message_of(frame: Frame) -> Message:
    if frame.opcode == BINARY:
        raise Violation(Code.UNEXPECTED_MESSAGE, "A BINARY frame came where a control message was due.")
    try:
        return parse(text_of(frame.payload))
    except (MessageError, FrameError) as error:
        raise Violation(Code.BAD_MESSAGE, str(error)) from None
