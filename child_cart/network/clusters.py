"""Asking the bridge for peers, and finding the answer among all that arrives."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from .link import LinkDown
from .messages import Cluster, Code, ErrorMessage, PeerList
from .running import Sends
from .transfer import TransferError


@dataclass(frozen=True)
class PickedCluster:
    """The peers that the bridge has picked."""

    cluster_id: str
    peers: tuple[str, ...]


class NotEnoughPeers(Exception):
    """The bridge has fewer carts than were asked for; ``available`` says how many."""

    def __init__(self, sentence: str, available: int) -> None:
        super().__init__(sentence)
        self.available = available


class Clusters:
    """The requests for clusters that wait for their answers.

    Args:
        cart_id: this cart's, in hexadecimal.
        link: sends messages.
    """

    def __init__(self, cart_id: str, link: Sends) -> None:
        self._cart_id = cart_id
        self._link = link
        self._waiting: dict[str, asyncio.Future[PickedCluster]] = {}

    async def ask(self, size: int, minimum: int, timeout_s: float) -> PickedCluster:
        """Ask the bridge for peers.

        Raises:
            NotEnoughPeers: if fewer than ``minimum`` are there.
            TransferError: if the link is gone or the bridge does not answer.
        """
        request = os.urandom(16).hex()
        answer: asyncio.Future[PickedCluster] = asyncio.get_running_loop().create_future()
        self._waiting[request] = answer
        try:
            self._link.send(Cluster(request, size, minimum))
            async with asyncio.timeout(timeout_s):
                picked = await answer
            # Held against what was asked: a peer that came twice would count twice in the average.
            peers = [peer for peer in dict.fromkeys(picked.peers) if peer != self._cart_id][:size]
            if len(peers) < minimum:
                raise NotEnoughPeers(f"The bridge named {len(peers)} peers; {minimum} are needed.", len(peers))
            return PickedCluster(picked.cluster_id, tuple(peers))
        except TimeoutError:
            raise TransferError(Code.TIMED_OUT, "The bridge did not answer the request for a cluster.") from None
        except LinkDown as down:
            raise TransferError(Code.LINK_LOST, str(down)) from None
        finally:
            del self._waiting[request]

    def take_answer(self, message: PeerList | ErrorMessage) -> None:
        """Give an answer to whoever waits for it; one that nobody waits for is passed over."""
        waiting = self._waiting.get(message.request)
        if waiting is None or waiting.done():
            return
        if isinstance(message, PeerList):
            waiting.set_result(PickedCluster(message.cluster, message.peers))
        else:
            waiting.set_exception(NotEnoughPeers(message.sentence, message.available))

    def lose_link(self) -> None:
        """Tell all who wait that no answer will come."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(TransferError(Code.LINK_LOST, "The link to the bridge broke."))
