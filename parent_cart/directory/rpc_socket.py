"""A node's UDP socket: sends requests and waits for answers, passes requests on, and counts and drops all else.

It replaces the library's own protocol, in which a malformed datagram raises in a task whose result is never read and is
logged with its content, and a missing answer is an error in the log. The datagrams are the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cart_common.process.token_bucket import AddressBuckets, TokenBucket

from .datagrams import (
    MESSAGE_ID_BYTES,
    Address,
    Answer,
    DatagramError,
    Envelope,
    Fault,
    Request,
    Rpc,
    address_of,
    answer_datagram,
    parse,
    request_datagram,
)

TRIES: Final = 2


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
        wait_s: seconds to wait for an answer before asking once more.
        rates: how many requests are answered at most.
    """

    def __init__(
        self,
        envelope: Envelope,
        answer: Callable[[Address, Request], object],
        counters: Counter[str],
        wait_s: float,
        rates: RequestRates,
    ) -> None:
        self._envelope = envelope
        self._answer = answer
        self._counters = counters
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

    async def ask(self, address: Address, rpc: Rpc, *arguments: bytes, tries: int = TRIES) -> object:
        """Return the body of the answer to a request; None if none has come."""
        loop = asyncio.get_running_loop()
        for _ in range(tries):
            if self._transport is None or not self._reaches(address):
                return None
            message_id = os.urandom(MESSAGE_ID_BYTES)
            self._waiting[message_id] = waiting = loop.create_future()
            try:
                self._send(request_datagram(message_id, rpc, *arguments), address)
                async with asyncio.timeout(self._wait_s):
                    return await waiting
            except TimeoutError:
                if waiting.done() and not waiting.cancelled():  # the answer came at the same moment
                    return waiting.result()
            finally:
                del self._waiting[message_id]
        return None

    def _send(self, datagram: bytes, address: Address) -> None:
        if self._transport is None or not self._reaches(address):
            return
        mapped = self._ipv6 and ":" not in address.host
        host = f"::ffff:{address.host}" if mapped else address.host
        self._transport.sendto(self._envelope.close(datagram), (host, address.port))

    def _reaches(self, address: Address) -> bool:
        return self._ipv6 or ":" not in address.host

    # Being asked.

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Take a datagram."""
        address = address_of(addr[0], addr[1])
        if address is None:
            return
        try:
            message = parse(self._envelope.open(data))
            if isinstance(message, Answer):
                self._take_answer(message)
            else:
                self._take_request(message, address)
        except DatagramError as error:
            self._counters[f"datagrams_{error.fault}"] += 1

    def _take_answer(self, answer: Answer) -> None:
        # The id is 20 random bytes: only the node that was asked can know it.
        waiting = self._waiting.get(answer.message_id)
        if waiting is None or waiting.done():
            raise DatagramError(Fault.UNASKED)
        waiting.set_result(answer.body)

    def _take_request(self, request: Request, address: Address) -> None:
        if not self._may_ask(address.host):
            raise DatagramError(Fault.TOO_MANY)
        body = self._answer(address, request)
        if body is not None:
            self._send(answer_datagram(request.message_id, body), address)

    def _may_ask(self, host: str) -> bool:
        now = asyncio.get_running_loop().time()
        left = self._left.of(host, now)
        if left.left(now) < 1 or self._left_of_all is None or self._left_of_all.left(now) < 1:
            return False
        left.take(1, now)
        self._left_of_all.take(1, now)
        return True
