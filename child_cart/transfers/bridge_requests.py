"""Requests to a bridge (which peers, where is a cart), each matched with its answer among all that arrives."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from cart_common.wire.messages import Cluster, Code, ErrorMessage, Found, PeerList, Seek

from ..network.link_interface import LinkDown, MessageSender
from .assembly import TransferError


@dataclass(frozen=True)
class PickedCluster:
    """The peers that a bridge has picked."""

    cluster_id: str
    peers: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()
    """Records of bridges that have more peers; their signatures are not checked yet."""


class NotEnoughPeers(Exception):
    """There are fewer peers than the cart needs; ``available`` says how many."""

    def __init__(self, sentence: str, available: int) -> None:
        super().__init__(sentence)
        self.available = available


class BridgeRequests:
    """The requests to one bridge that wait for their answers.

    Args:
        cart_id: this cart's, in hexadecimal.
        link: sends messages.

    Attributes:
        cluster_id: the cluster that this cart has at the bridge, or empty; it ends with the link.
        other_shapes: how many carts of the same task had a model of another shape when the bridge was last asked.
    """

    def __init__(self, cart_id: str, link: MessageSender) -> None:
        self._cart_id = cart_id
        self._link = link
        self._waiting: dict[str, asyncio.Future[PeerList | Found | ErrorMessage]] = {}
        self.cluster_id = ""
        self.other_shapes = 0

    async def ask(self, size: int, minimum: int, timeout_s: float) -> PickedCluster:
        """Ask the bridge for peers; it gives fewer than ``minimum`` only if it names bridges that have more.

        Raises:
            NotEnoughPeers: if fewer than ``minimum`` are there.
            TransferError: if the link is gone or the bridge does not answer.
        """
        request = os.urandom(16).hex()
        self.cluster_id = ""
        answer = await self._answer_to(Cluster(request, size, minimum), request, timeout_s)
        if isinstance(answer, PeerList) or (isinstance(answer, ErrorMessage) and answer.code is Code.NOT_ENOUGH_PEERS):
            self.other_shapes = answer.other_shapes
        if isinstance(answer, ErrorMessage):
            raise NotEnoughPeers(answer.sentence, answer.available)
        if not isinstance(answer, PeerList):
            raise TransferError(Code.BAD_MESSAGE, f"The bridge sent {answer.KIND} where PEERLIST was due.")
        self.cluster_id = answer.cluster
        # A peer that is named twice would count twice in the average.
        peers = [peer for peer in dict.fromkeys(answer.peers) if peer != self._cart_id][:size]
        if len(peers) < minimum and not answer.elsewhere:
            raise NotEnoughPeers(f"The bridge named {len(peers)} peers; at least {minimum} must be there.", len(peers))
        return PickedCluster(answer.cluster, tuple(peers), answer.elsewhere)

    async def seek(self, cart_id: str, timeout_s: float) -> str | None:
        """Ask the bridge where a cart is; return its record, not checked yet, or None if the bridge finds none.

        Raises:
            TransferError: if the link is gone or the bridge does not answer.
        """
        request = os.urandom(16).hex()
        answer = await self._answer_to(Seek(request, cart_id), request, timeout_s)
        return answer.record if isinstance(answer, Found) else None

    async def _answer_to(
        self, message: Cluster | Seek, request: str, timeout_s: float
    ) -> PeerList | Found | ErrorMessage:
        waiting: asyncio.Future[PeerList | Found | ErrorMessage] = asyncio.get_running_loop().create_future()
        self._waiting[request] = waiting
        try:
            self._link.send(message)
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError:
            raise TransferError(Code.TIMED_OUT, f"The bridge did not answer the request {message.KIND}.") from None
        except LinkDown as down:
            raise TransferError(Code.LINK_LOST, str(down)) from None
        finally:
            del self._waiting[request]

    def take_answer(self, message: PeerList | Found | ErrorMessage) -> None:
        """Give an answer to the request that waits for it; an answer without a request is ignored."""
        waiting = self._waiting.get(message.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def lose_link(self) -> None:
        """Fail all requests that wait: no answer will come."""
        self.cluster_id = ""
        self.other_shapes = 0
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(TransferError(Code.LINK_LOST, "The link to the bridge broke."))
