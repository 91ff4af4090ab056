"""A node's UDP socket: sends requests and waits for answers, passes requests on, and counts and drops all else.

It replaces the library's own protocol, in which a malformed datagram raises in a task whose result is never read and is
logged with its content, and a missing answer is an error in the log. Without a token the datagrams are the same.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cart_common.process.token_bucket import AddressBuckets, TokenBucket

from .datagrams import (
    Address,
    Answer,
    DatagramError,
    Envelope,
    Fault,
    Form,
    Request,
    Rpc,
    address_of,
    answer_datagram,
    parse,
    request_datagram,
)
from .replay_window import ReplayWindow, new_message_id

TRIES: Final = 2
MOST_OLD: Final = 4096


@dataclass(frozen=True)
class RequestRates:
    """How many requests of one address, and of all, are answered in a second; twice as many at once."""

    of_one_per_s: float = 400.0
    of_all_per_s: float = 2000.0


DEFAULT_RATES: Final = RequestRates()


class RpcSocket(asyncio.DatagramProtocol):
    """Requests and answers over one socket.

    Args:
        envelope: tells datagrams of the fleet from others.
        answer: returns the answer to a request; None for no answer. It must not raise.
        counters: counts what was dropped, by fault.
        now: seconds since the epoch.
        wait_s: seconds to wait for an answer before asking once more.
        rates: how many requests are answered at most.
    """

    def __init__(
        self,
        envelope: Envelope,
        answer: Callable[[Address, Request], object],
        counters: Counter[str],
        now: Callable[[], float],
        wait_s: float,
        rates: RequestRates,
    ) -> None:
        self._envelope = envelope
        self._answer = answer
        self._counters = counters
        self._now = now
        self._taken = ReplayWindow(now(), time.monotonic())
        self._old: OrderedDict[Address, None] = OrderedDict()
        """Addresses whose last datagram was one of version 0.1."""
        self._wait_s = wait_s
        self._rates = rates
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = asyncio.Event()
        self._ipv6 = False
        self._waiting: dict[bytes, asyncio.Future[object]] = {}
        self._left = AddressBuckets(rates.of_one_per_s, 2 * rates.of_one_per_s)
        self._left_of_all: TokenBucket | None = None

    # The socket.

    async def listen(self, host: str, port: int) -> None:
        """Open the socket.

        Raises:
            OSError: if the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        self._transport = transport
        self._ipv6 = transport.get_extra_info("socket").family == socket.AF_INET6
        rate = self._rates.of_all_per_s
        self._left_of_all = TokenBucket(rate, 2 * rate, loop.time())

    @property
    def port(self) -> int:
        """The UDP port of the socket."""
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    async def close(self) -> None:
        """Close the socket; requests that wait get no answer. May be called again."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await self._closed.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the socket is closed and its port free."""
        self._closed.set()

    def error_received(self, exc: Exception) -> None:
        """Count what the system could not send."""
        self._counters["datagrams_not_sent"] += 1

    # Asking.

    async def ask(
        self, address: Address, node_id: bytes | None, rpc: Rpc, *arguments: bytes, tries: int = TRIES
    ) -> object:
        """Return the body of the answer to a request; None if none has come.

        Args:
            address: where to ask.
            node_id: of the node that is asked; None if it is not known, for INTRODUCE alone.
            rpc: what is asked.
            arguments: of the request.
            tries: how often to ask.
        """
        loop = asyncio.get_running_loop()
        for number in range(tries):
            if self._transport is None or not self._reaches(address):
                return None
            message_id = new_message_id(self._now())
            # Where version 0.1 is spoken, too, the second try is in the other form.
            old = self._envelope.takes_old and (address in self._old) == (number % 2 == 0)
            self._waiting[message_id] = waiting = loop.create_future()
            try:
                self._send(request_datagram(message_id, rpc, *arguments), address, node_id, old)
                async with asyncio.timeout(self._wait_s):
                    return await waiting
            except TimeoutError:
                if waiting.done() and not waiting.cancelled():  # the answer came at the same moment
                    return waiting.result()
            finally:
                del self._waiting[message_id]
        return None

    def _send(self, datagram: bytes, address: Address, node_id: bytes | None, old: bool) -> None:
        if self._transport is None or not self._reaches(address):
            return
        mapped = self._ipv6 and ":" not in address.host
        host = f"::ffff:{address.host}" if mapped else address.host
        self._transport.sendto(self._envelope.close(datagram, node_id, old), (host, address.port))

    def _reaches(self, address: Address) -> bool:
        return self._ipv6 or ":" not in address.host

    # Being asked.

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Take a datagram."""
        address = address_of(addr[0], addr[1])
        if address is None:
            return
        try:
            form, datagram = self._envelope.open(data)
            message = parse(datagram)
            if isinstance(message, Answer):
                self._take_answer(message, form)
            else:
                self._take_request(message, form, address)
            self._note_form(address, form)
        except DatagramError as error:
            self._counters[f"datagrams_{error.fault}"] += 1

    def _take_answer(self, answer: Answer, form: Form) -> None:
        # The id holds 14 random bytes: only the node that was asked can know it, or who holds the token and listens.
        waiting = self._waiting.get(answer.message_id)
        if waiting is None or waiting.done() or form is Form.TO_ANY:
            raise DatagramError(Fault.UNASKED)
        waiting.set_result(answer.body)

    def _take_request(self, request: Request, form: Form, address: Address) -> None:
        if form is Form.TO_ANY and request.rpc is not Rpc.INTRODUCE:
            raise DatagramError(Fault.MALFORMED)
        is_timed = form in (Form.TO_ONE, Form.TO_ANY)
        if is_timed:
            # First of all: what a stranger sends again takes nothing of what may be answered.
            self._taken.check(request.message_id, self._now(), time.monotonic())
        if not self._may_ask(address.host):
            raise DatagramError(Fault.TOO_MANY)
        if is_timed:
            self._taken.remember(request.message_id, self._now())
        body = self._answer(address, request)
        if body is not None:
            datagram = answer_datagram(request.message_id, body)
            self._send(datagram, address, request.sender_id, old=form is Form.OLD)

    def _note_form(self, address: Address, form: Form) -> None:
        """Note in which form an address speaks, so that it is asked in the same one."""
        self._old.pop(address, None)
        if form is Form.OLD:
            self._old[address] = None
        if len(self._old) > MOST_OLD:
            self._old.popitem(last=False)

    def _may_ask(self, host: str) -> bool:
        now = asyncio.get_running_loop().time()
        left = self._left.of(host, now)
        if left.left(now) < 1 or self._left_of_all is None or self._left_of_all.left(now) < 1:
            return False
        left.take(1, now)
        self._left_of_all.take(1, now)
        return True
