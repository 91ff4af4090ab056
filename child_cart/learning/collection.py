"""Fetch the models of a cluster: from all peers at the same time; check, score and judge each received model."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.wire.messages import Code

from ..db.records import Verdict
from ..model.trainer import Offered, Score, Stored, Trainer
from ..model.verdict import VerdictReason
from ..transfers.assembly import TransferError
from ..transfers.incoming import Received
from ..transfers.peer_discovery import FoundCluster, Peer, Peers

MOST_KNOWN: Final = 4096
KNOWN_CHARS: Final = 16
# These codes say nothing about a peer's model: its link, its bridge or this cart's own link was lost.
BROKEN: Final = (Code.LINK_LOST, Code.PEER_LEFT)


@dataclass(frozen=True)
class Accepted:
    """A received model that may take part in the mix.

    Attributes:
        peer: id of its cart.
        path: its payload file.
        digest: of its bytes.
        value: on the common evaluation rows; None if the task has none.
        samples: rows that its peer claims; None if it claims none.
    """

    peer: str
    path: Path
    digest: str
    value: float | None
    samples: int | None

    def offered(self) -> Offered:
        """Return it as a trainer takes it."""
        return Offered(self.path, self.samples)


class KnownModels:
    """The models that have taken part in mixes: one that a peer gives again, as it is, teaches nothing new."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and digest[:KNOWN_CHARS] in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def add(self, digest: str) -> None:
        """Know a model from now on; of very many the oldest are forgotten."""
        self._digests[digest[:KNOWN_CHARS]] = None
        if len(self._digests) > MOST_KNOWN:
            self._digests.popitem(last=False)


class Collection:
    """One round's received models and their files.

    Args:
        peers: fetches models.
        trainer: checks and scores them.
        base: the own model, which they are compared with, and from which they get their personal arrays.
        known: models that are not taken again.
        judge: decides by the measured value; None if there is none.
        on_verdict: gets each verdict at once.
    """

    def __init__(
        self,
        peers: Peers,
        trainer: Trainer,
        base: Stored,
        known: Container[str],
        judge: Callable[[float | None], VerdictReason],
        on_verdict: Callable[[Verdict], Awaitable[None]],
    ) -> None:
        self._peers = peers
        self._trainer = trainer
        self._base = base
        self._known = known
        self._judge = judge
        self._on_verdict = on_verdict
        self.accepted: list[Accepted] = []
        self._taken: set[str] = set()
        self._lost = 0

    @property
    def cut_short(self) -> bool:
        """Whether links broke before any model of the last ``ask`` was accepted."""
        return self._lost > 0 and not self.accepted

    async def ask(self, cluster: FoundCluster) -> None:
        """Fetch and judge the models of all peers of the cluster.

        Raises:
            TrainerError, StoreError: if the trainer or the store fails; the remaining fetches are cancelled.
        """
        self._lost = 0
        asking = [asyncio.create_task(self._ask_one(peer)) for peer in cluster.peers]
        # No TaskGroup: on Python 3.11 a child's failure there hides that this task itself is being cancelled.
        try:
            await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in asking:
                task.cancel()
            results = await asyncio.gather(*asking, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _ask_one(self, peer: Peer) -> None:
        try:
            received = await self._peers.fetch(peer)
        except TransferError as error:
            self._lost += error.code in BROKEN
            await self._on_verdict(
                Verdict(peer.cart_id, VerdictReason.NOT_RECEIVED, f"{error.sentence} ({error.code})")
            )
            return
        reason = None
        try:
            score = await self._score(received)
            reason = score.reason or self._judged(score, received)
            await self._on_verdict(_verdict(peer.cart_id, received, score, reason))
        finally:
            if reason is VerdictReason.ACCEPTED:
                offer = received.offer
                self.accepted.append(Accepted(peer.cart_id, received.path, offer.digest, score.value, offer.samples))
            else:
                received.path.unlink(missing_ok=True)

    async def _score(self, received: Received) -> Score:
        if received.offer.digest in self._known:
            return Score(reason=VerdictReason.KNOWN_ALREADY)
        return await self._trainer.score(self._base, received.path)

    def _judged(self, score: Score, received: Received) -> VerdictReason:
        if received.offer.digest in self._taken:
            return VerdictReason.KNOWN_ALREADY
        reason = self._judge(score.value)
        if reason is VerdictReason.ACCEPTED:
            self._taken.add(received.offer.digest)
        return reason

    def close(self) -> None:
        """Remove the files of the accepted models: they are averaged, or not needed any more."""
        for model in self.accepted:
            model.path.unlink(missing_ok=True)


SENTENCES = {
    VerdictReason.ACCEPTED: "It takes part in the average.",
    VerdictReason.TOO_WEAK: "It is worse than the accept window allows.",
    VerdictReason.TOO_STRONG: "It is better than the accept window allows.",
    VerdictReason.BAD_PAYLOAD: "Its bytes cannot be decoded.",
    VerdictReason.WRONG_SHAPE: (
        "Its arrays have other shapes than this cart's model, or numbers that its arrays cannot hold."
    ),
    VerdictReason.NOT_FINITE: "It holds or predicts numbers that are infinite or none at all.",
    VerdictReason.HUGE_WEIGHTS: "It holds weights far beyond what training gives.",
    VerdictReason.OUT_OF_PROPORTION: "It has units far larger than any of this cart's model.",
    VerdictReason.KNOWN_ALREADY: "The very same model has taken part before, or comes from another cart, too.",
    VerdictReason.LEFT_OUT: "The mix is better without it.",
}


def _verdict(peer: str, received: Received, score: Score, reason: VerdictReason) -> Verdict:
    offer = received.offer
    return Verdict(
        peer=peer,
        reason=reason,
        sentence=SENTENCES[reason],
        value=score.value,
        model_version=offer.model_version,
        samples=offer.samples,
        payload_bytes=offer.total_bytes,
    )
