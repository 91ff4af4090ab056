"""The story of a round: train on the waiting rows, collect models from peers, judge, average, and serve again.

Each step that must not be lost is one record in the store; a cart that is killed between two of them goes on from the
last one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from cart_common.process.backoff import Backoff
from cart_common.process.tasks import in_thread
from cart_common.wire.messages import Role

from ..config import SettingsBook
from ..db.records import Json, ModelVersion, Origin, Outcome, RoundRecord, Verdict
from ..db.store import Store
from ..model.aggregation.base import ModelFacts
from ..model.aggregation.registry import RULES
from ..model.trainer import Trainer, TrainerError
from ..model.verdict import AcceptWindow, VerdictReason
from ..network.link import LinkDown
from ..transfers.assembly import TransferError
from ..transfers.bridge_requests import NotEnoughPeers
from ..transfers.peer_discovery import FoundCluster, PeerDiscovery
from .activity import Activity, Stage
from .collection import Accepted, Collection
from .versions import Versions

OWN_EVALUATION_ROWS: Final = 200
MOST_CLUSTERS: Final = 3
RETRY_FIRST_S: Final = 0.5
RETRY_CAP_S: Final = 10.0
FAILED_CAP_S: Final = 300.0


class Announces(Protocol):
    """The part of the link that a round uses."""

    def announce(self) -> None:
        """Tell the bridge the present role and version; raises ``LinkDown``."""


class _NoCluster(Exception):
    def __init__(self, outcome: Outcome, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome = outcome


class Rounds:
    """The learning of one cart.

    Attributes:
        role: what the cart is to its peers now.
        role_since: since when, in seconds since the epoch.
        record: the round that runs, or None.
        outcomes: how many rounds have ended how, since the start.
        verdicts: what became of how many models of peers, since the start.
        wake: set it when rows have come, settings have changed or a round was asked for.
    """

    def __init__(
        self,
        book: SettingsBook,
        store: Store,
        versions: Versions,
        trainer: Trainer,
        peer_discovery: PeerDiscovery,
        link: Announces,
        activity: Activity,
    ) -> None:
        self._book = book
        self._store = store
        self._versions = versions
        self._trainer = trainer
        self._peer_discovery = peer_discovery
        self._link = link
        self._activity = activity
        self._saving = asyncio.Lock()
        self._retry = Backoff(RETRY_FIRST_S, FAILED_CAP_S)
        self._not_training = asyncio.Event()
        self._not_training.set()
        self.role = Role.SHELL
        self.role_since = time.time()
        self.record: RoundRecord | None = None
        self.outcomes = Counter({str(outcome): 0 for outcome in Outcome})
        self.verdicts = Counter({str(reason): 0 for reason in VerdictReason})
        self.wake = asyncio.Event()
        self.train_now = False

    async def run(self) -> None:
        """Go through rounds for ever, after finishing the one that an earlier process was killed in."""
        self._activity.move_to(Stage.SERVING)
        try:
            self.record = await self._unfinished_round()
            while True:
                if self.record is None:
                    await self._wait_for_rows()
                    self.record = await self._new_record()
                ended = await self._round()
                self.record = None
                if ended.outcome is Outcome.TRAINER_FAILED:
                    repaired = await in_thread(self._versions.repair)
                    if repaired:
                        self._activity.note(repaired)
                    await asyncio.sleep(self._retry.next_delay_s())
                else:
                    self._retry.reset()
        finally:
            self.record = None

    # A round, step by step.

    async def _round(self) -> RoundRecord:
        collection = None
        try:
            if self._running.local_version is None:
                await self._train()
            self._check_sharing()
            own_rows = await in_thread(self._store.held_out_rows, OWN_EVALUATION_ROWS)
            collection = self._collection(own_rows)
            await self._collect(collection)
            await self._average(collection.accepted, own_rows)
        except _NoCluster as none:
            await self._end(none.outcome, str(none))
        except TrainerError as error:
            await self._end(Outcome.TRAINER_FAILED, str(error))
        finally:
            if collection is not None:
                collection.close()
            await self._peer_discovery.close()
            self.become(Role.SHELL)
            self._activity.move_to(Stage.SERVING)
        settings = self._book.current
        await in_thread(self._versions.remove_old, settings.keep_versions, settings.keep_rounds)
        return self._running

    async def _train(self) -> None:
        """Train on the waiting rows; the version that this writes is what spends them."""
        self._activity.move_to(Stage.TRAINING)
        waiting = await in_thread(self._store.waiting_rows, self._book.current.max_round_rows)
        own_rows = await in_thread(self._store.held_out_rows, OWN_EVALUATION_ROWS)
        own_rows = [entry.row for entry in waiting if entry.held_out] + own_rows
        rows = [entry.row for entry in waiting if not entry.held_out]
        target = self._versions.new_target()
        with self._timed("training"), self._marked_training():
            trained = await self._trainer.train(
                self._versions.stored(), rows, own_rows, target, self._activity.report_epoch
            )
            version = await in_thread(
                self._versions.add, Origin.LOCAL, target, trained, waiting[-1].sequence, self._running.number
            )
        self.become(Role.SHELL)
        self._activity.note(f"Trained on {len(rows)} rows: version {version.number}, accuracy {version.accuracy:.3f}.")
        await self._save(local_version=version.number, local_accuracy=version.accuracy, rows=len(rows))

    async def _collect(self, collection: Collection) -> None:
        # A transfer outlives a lost link. A mere request does not, nor does the cluster: both are made again.
        for _ in range(MOST_CLUSTERS):
            self._activity.move_to(Stage.CLUSTERING)
            with self._timed("clustering"):
                cluster = await self._find_cluster()
            self._activity.move_to(Stage.COLLECTING)
            await self._save(cluster_id=cluster.cluster_id, verdicts=())
            with self._timed("collecting"):
                await collection.ask(cluster)
            if not collection.cut_short:
                return
            self._activity.note("The link broke before any peer had answered.")

    async def _average(self, accepted: list[Accepted], own_rows: list[Json]) -> None:
        asked = len(self._running.verdicts)
        if not accepted:
            await self._end(Outcome.NONE_ACCEPTED, f"None of the {asked} models that were asked for was accepted.")
            return
        self._activity.move_to(Stage.AVERAGING)
        target = self._versions.new_target()
        base = self._versions.newest
        own_share, shares = shares_of(self._book.current.weighting, base, accepted)
        received = [(model.path, share) for model, share in zip(accepted, shares, strict=True)]
        with self._timed("averaging"):
            trained = await self._trainer.average(self._versions.stored(), own_share, received, own_rows, target)
            version = await in_thread(
                self._versions.add, Origin.AGGREGATED, target, trained, round_number=self._running.number
            )
        await self._save(new_version=version.number, new_accuracy=version.accuracy)
        await self._end(
            Outcome.AGGREGATED,
            f"Averaged with {len(accepted)} of {asked} peers: version {version.number}, "
            f"accuracy {base.accuracy:.3f} → {version.accuracy:.3f}.",
        )

    def _collection(self, own_rows: list[Json]) -> Collection:
        settings = self._book.current
        window = AcceptWindow(settings.accept_backward, settings.accept_forward)
        judge = partial(window.judge, self._versions.newest.accuracy)
        return Collection(self._peer_discovery, self._trainer, own_rows, judge, self._keep_verdict)

    async def _find_cluster(self) -> FoundCluster:
        """Ask for a cluster until there is one, or until it has taken too long."""
        started_at = time.monotonic()
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S)
        while True:
            settings = self._book.current  # in each turn: they may be changed to end the search
            self._check_sharing()
            self.become(Role.KERNEL)
            try:
                return await self._peer_discovery.find_cluster(settings.cluster_size, settings.min_peers)
            except NotEnoughPeers as few:
                outcome, sentence = Outcome.NOT_ENOUGH_PEERS, str(few)
            except TransferError as error:
                outcome, sentence = Outcome.BRIDGE_AWAY, str(error)
            self.become(Role.SHELL)
            delay_s = backoff.next_delay_s()
            if time.monotonic() + delay_s > started_at + settings.cluster_wait_s:
                raise _NoCluster(outcome, sentence)
            self._activity.note(f"No cluster yet: {sentence} Asking again in {delay_s:.1f} s.")
            await asyncio.sleep(delay_s)

    def _check_sharing(self) -> None:
        if self._book.current.sharing == "off":
            raise _NoCluster(Outcome.SHARING_PAUSED, "Sharing is paused: the cart trained alone.")

    # The record of a round.

    @property
    def _running(self) -> RoundRecord:
        assert self.record is not None
        return self.record

    async def _unfinished_round(self) -> RoundRecord | None:
        """Return the round to go on with, if the last process was killed after its training and before its end."""
        last = await self._last_record()
        if last is None or last.outcome is not None:
            return None
        newest = self._versions.newest
        if newest.round_number == last.number and newest.origin is Origin.LOCAL:
            self._activity.note(f"Going on with round {last.number}, which was cut short.")
            return replace(last, local_version=newest.number, local_accuracy=newest.accuracy, verdicts=())
        # Killed before the training was kept (its rows wait still), or after the average was.
        averaged = newest.round_number == last.number
        closed = replace(
            last,
            outcome=Outcome.AGGREGATED if averaged else Outcome.INTERRUPTED,
            new_version=newest.number if averaged else None,
            new_accuracy=newest.accuracy if averaged else None,
            sentence="This round was cut short.",
            ended_at=time.time(),
        )
        await in_thread(self._store.save_round, closed)
        self.outcomes[str(closed.outcome)] += 1
        return None

    async def _new_record(self) -> RoundRecord:
        last = await self._last_record()
        record = RoundRecord(os.urandom(8).hex(), last.number + 1 if last else 1, time.time())
        await in_thread(self._store.save_round, record)
        return record

    async def _last_record(self) -> RoundRecord | None:
        records = await in_thread(self._store.rounds, 1)
        return records[0] if records else None

    async def _save(self, **changes: Any) -> None:
        self.record = replace(self._running, **changes)
        async with self._saving:  # the newest state last, whatever the threads do
            await in_thread(self._store.save_round, self._running)

    async def _keep_verdict(self, verdict: Verdict) -> None:
        await self._save(verdicts=(*self._running.verdicts, verdict))
        self.verdicts[str(verdict.reason)] += 1
        accuracy = "" if verdict.accuracy is None else f" at accuracy {verdict.accuracy:.3f}"
        word = "accepted" if verdict.reason == VerdictReason.ACCEPTED else f"dropped ({verdict.reason})"
        self._activity.note(f"Model of cart {verdict.peer[:8]} {word}{accuracy}: {verdict.sentence}")

    async def _end(self, outcome: Outcome, sentence: str) -> None:
        await self._save(outcome=outcome, sentence=sentence, ended_at=time.time())
        self.outcomes[str(outcome)] += 1
        self._activity.note(f"Round {self._running.number}: {outcome}. {sentence}")

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started_at = time.monotonic()
        try:
            yield
        finally:
            # A new record, not a changed one: page threads may be reading this one.
            phase_s = {**self._running.phase_s, phase: round(time.monotonic() - started_at, 4)}
            self.record = replace(self._running, phase_s=phase_s)

    # Waiting and roles.

    @contextmanager
    def _marked_training(self) -> Iterator[None]:
        self._not_training.clear()
        try:
            yield
        finally:
            self._not_training.set()

    async def training_done(self, most_s: float) -> None:
        """Wait until no training runs, but not longer than this.

        A peer that asks in the middle of a training is better served by its result a moment later: what a cart has just
        learned is what others average for, and old versions dilute it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._not_training.wait()

    async def _wait_for_rows(self) -> None:
        while True:
            self.wake.clear()
            waiting = await in_thread(self._store.waiting_count)
            if waiting >= self._book.current.dataset_size or (self.train_now and waiting > 0):
                self.train_now = False
                return
            if self.train_now:
                self.train_now = False
                self._activity.note("There is nothing to train on: no rows wait.")
            await self.wake.wait()

    def become(self, role: Role) -> None:
        """Take a role, and let the bridge know of it and of a new version, if there is one."""
        if role is not self.role:
            self.role, self.role_since = role, time.time()
        with suppress(LinkDown):  # the next attach tells it
            self._link.announce()


def shares_of(weighting: str, base: ModelVersion, accepted: list[Accepted]) -> tuple[float, list[float]]:
    """Return the share of the cart's own model and those of the accepted ones, by the rule of this name."""
    received = [ModelFacts(model.accuracy, model.samples) for model in accepted]
    own_share, *shares = RULES[weighting].shares(ModelFacts(base.accuracy, base.samples), received)
    return own_share, shares
