"""A round, step by step: train on the waiting rows, collect models from peers, judge, average, and serve again.

Each step that must not be lost ends with a record in the store; a cart that is killed goes on from the last record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from cart_common.process.backoff import Backoff
from cart_common.process.json_values import Json
from cart_common.process.tasks import in_thread
from cart_common.wire.messages import Role

from ..config import SettingsBook
from ..db.records import Origin, Outcome, SetAsideRow, StoredRow
from ..db.store import LearningStore
from ..model.metric import Metric
from ..model.trainer import MixingRule, Rehearsal, Trainer, TrainerError
from ..model.verdict import AcceptWindow
from ..transfers.assembly import TransferError
from ..transfers.bridge_requests import NotEnoughPeers
from ..transfers.peer_discovery import FoundCluster, Peers
from .activity import Activity, Stage, listed
from .collection import Accepted, Collection, KnownModels
from .round_log import RoundLog
from .row_choice import chosen_rows, judging_rows, rehearsal_numbers, rehearsed_rows
from .sharing import Sharing
from .versions import FILES_FOR_MOMENTUM, Versions, measured_words

OWN_EVALUATION_ROWS: Final = 200
HELD_OUT_READ: Final = 2000
"""The newest held-out rows, of which those are chosen that measure models."""
MOST_CLUSTERS: Final = 3
RETRY_FIRST_S: Final = 0.5
RETRY_CAP_S: Final = 10.0
FAILED_CAP_S: Final = 300.0


class _NoCluster(Exception):
    def __init__(self, outcome: Outcome, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome = outcome


class Rounds:
    """The rounds of one cart.

    Args:
        book: the settings, read anew at each step.
        store: has the rows and keeps the records of rounds.
        versions: get what trainings and averages make.
        trainer: trains, scores and averages.
        peers: finds peers and fetches their models.
        sharing: takes the cart's role in each step.
        activity: shows the stage and gets the events.

    Attributes:
        log: the record of the present round, and counts of the earlier ones.
        known: models that have taken part in its mixes.
        sharing: what the cart is to its peers.
        wake: set it when rows have come or settings have changed.
    """

    def __init__(
        self,
        book: SettingsBook,
        store: LearningStore,
        versions: Versions,
        trainer: Trainer,
        peers: Peers,
        sharing: Sharing,
        activity: Activity,
    ) -> None:
        self._book = book
        self._store = store
        self._versions = versions
        self._trainer = trainer
        self._peers = peers
        self._activity = activity
        self._retry = Backoff(RETRY_FIRST_S, FAILED_CAP_S)
        self._train_now = False
        self.known = KnownModels()
        self.sharing = sharing
        self.log = RoundLog(store, activity)
        self.wake = asyncio.Event()

    def ask_training(self) -> None:
        """Start a round with the rows that wait, however few. Call this in the loop."""
        self._train_now = True
        self.wake.set()

    async def run(self) -> None:
        """Go through rounds until cancelled; first finish the one that an earlier process was killed in."""
        self._activity.move_to(Stage.SERVING)
        try:
            await self.log.open_unfinished(self._versions.newest)
            while True:
                if await self.run_one() is Outcome.TRAINER_FAILED:
                    await self._repair()
                    await asyncio.sleep(self._retry.next_delay_s())
                else:
                    self._activity.trouble = ""
                    self._retry.reset()
        finally:
            self.log.close()

    async def run_one(self) -> Outcome | None:
        """Go through one round: the open one, or a new one as soon as its rows have come; return how it has ended."""
        if self.log.record is None:
            await self._wait_for_rows()
            await self.log.open_new()
        outcome = await self._round()
        self.log.close()
        return outcome

    async def _repair(self) -> None:
        repaired = await in_thread(self._versions.repair)
        if repaired:
            self._activity.note(repaired)
            self.sharing.announce()

    async def _round(self) -> Outcome | None:
        collection = None
        try:
            if self.log.present.local_version is None:
                await self._train()
            self._check_sharing()
            collection = self._collection()
            await self._collect(collection)
            await self._mix(collection.accepted)
        except _NoCluster as none:
            await self.log.end(none.outcome, str(none))
        except TrainerError as error:
            self._activity.trouble = str(error)
            await self.log.end(Outcome.TRAINER_FAILED, str(error))
        finally:
            if collection is not None:
                collection.close()
            await self._peers.close()
            self.sharing.become(Role.SHELL)
            self._activity.move_to(Stage.SERVING)
        settings = self._book.current
        files = max(settings.keep_versions, FILES_FOR_MOMENTUM if settings.momentum else 0)
        await in_thread(self._versions.remove_old, files, settings.keep_rounds)
        return self.log.present.outcome

    async def _train(self) -> None:
        """Train on the waiting rows; the new version is what marks them as spent."""
        self._activity.move_to(Stage.TRAINING)
        waiting = await in_thread(self._store.waiting_rows, self._book.current.max_round_rows)
        chosen = chosen_rows(waiting, self._book.current.dataset_size)
        judging = await self._judging_entries([entry for entry in chosen if entry.held_out])
        training = [entry for entry in chosen if not entry.held_out]
        rows, own_rows = [entry.row for entry in training], [entry.row for entry in judging]
        old, labelled = await self._rehearsed()
        rehearsal = Rehearsal([entry.row for entry in old], labelled, seed=self._versions.newest.trained_to)
        target = self._versions.new_target()
        with self.log.timed("training"), self.sharing.training():
            trained = await self._trainer.train(
                *(self._versions.stored(), rows, own_rows, target, self._activity.report_epoch),
                rehearsal,
            )
            await self._set_aside([*training, *judging, *old], trained.faults)
            version = await in_thread(
                self._versions.add, Origin.LOCAL, target, trained, waiting[-1].sequence, self.log.present.number
            )
        self.sharing.become(Role.SHELL)
        left_out = f", {len(waiting) - len(chosen)} left out" if len(chosen) < len(waiting) else ""
        again = f", with {trained.rehearsed} beside them against forgetting" if trained.rehearsed else ""
        self._activity.note(
            f"Trained on {trained.rows} rows{left_out}{again}: version {version.number}, {measured_words(version)}."
        )
        if trained.ruined_value is not None:
            metric = Metric.of(version.metric)
            self._activity.note(
                f"The training is not kept: it ruined the model, {metric.words(version.value)} → "
                f"{metric.figure(trained.ruined_value)}. Version {version.number} is the model from before it; the "
                f"{trained.rows} rows are spent."
            )
        await self.log.save(
            local_version=version.number,
            local_value=version.value,
            metric=version.metric,
            rows=trained.rows,
            ruined_value=trained.ruined_value,
        )

    async def _rehearsed(self) -> tuple[list[StoredRow], int]:
        """Return the spent rows that this training takes again, without spending them twice; or how many to label."""
        newest, most = self._versions.newest, self._book.current.rehearsal_rows
        if self._book.current.rehearsal == "labels":
            return [], min(most, newest.samples)  # a model that has learned from fewer rows has less to tell
        numbers = rehearsal_numbers(newest.trained_to, most)
        candidates = await in_thread(self._store.spent_rows, numbers) if numbers else []
        return rehearsed_rows(candidates, most, newest.trained_to), 0

    async def _judging(self) -> list[Json]:
        """Return the own rows that measure a model."""
        return [entry.row for entry in await self._judging_entries([])]

    async def _judging_entries(self, of_this_round: list[StoredRow]) -> list[StoredRow]:
        """Return the own rows that measure a model: chosen from these and from those of earlier rounds."""
        earlier = await in_thread(self._store.held_out_rows, HELD_OUT_READ)
        return judging_rows([*of_this_round, *earlier], OWN_EVALUATION_ROWS)

    async def _set_aside(self, entries: Sequence[StoredRow], faults: Sequence[Json]) -> None:
        """Set rows aside that have spoiled a training, before its version spends them."""
        if not faults:
            return
        now = time.time()
        spoiling = [(entries[fault["place"]], fault["reason"]) for fault in faults]
        rows = [SetAsideRow(entry.sequence, entry.row, reason, now) for entry, reason in spoiling]
        await in_thread(self._store.set_aside, rows)
        named = listed([f"row {row.sequence}: {row.reason}" for row in rows])
        self._activity.note(f"Set aside, since no training takes {'it' if len(rows) == 1 else 'them'}: {named}.")

    async def _collect(self, collection: Collection) -> None:
        # A transfer outlives a lost link. A request without an offer does not, nor does the cluster: ask again.
        for _ in range(MOST_CLUSTERS):
            self._activity.move_to(Stage.CLUSTERING)
            with self.log.timed("clustering"):
                cluster = await self._find_cluster()
            self._activity.move_to(Stage.COLLECTING)
            await self.log.save(cluster_id=cluster.cluster_id, verdicts=())
            with self.log.timed("collecting"):
                await collection.ask(cluster)
            if not collection.cut_short:
                return
            self._activity.note("The link broke before any peer had answered.")

    async def _mix(self, accepted: list[Accepted]) -> None:
        asked = len(self.log.present.verdicts)
        if not accepted:
            await self.log.end(Outcome.NONE_ACCEPTED, f"None of the {asked} models that were asked for was accepted.")
            return
        self._activity.move_to(Stage.AVERAGING)
        target, base, settings = self._versions.new_target(), self._versions.newest, self._book.current
        metric = Metric.of(base.metric)
        earlier = await in_thread(self._versions.last_starts) if settings.momentum else None
        rule = MixingRule(settings.aggregator, settings.momentum, earlier)
        offered = [model.offered() for model in accepted]
        with self.log.timed("averaging"):
            own_rows = await self._judging()
            judged = await self._trainer.mix(self._versions.stored(), base.samples, offered, own_rows, target, rule)
        left_out = {accepted[place].peer for place in judged.left_out}
        await self.log.leave_out(left_out)
        taken = len(accepted) - len(left_out)
        if judged.trained is None:
            await self.log.save(new_value=judged.value)
            await self.log.end(
                Outcome.KEPT_OWN,
                f"The mix with {taken} of {asked} peers is not kept: by its losses on the same rows it is worse than "
                f"the cart's own model ({metric.words(judged.own_value)} → {metric.figure(judged.value)})."
                if taken
                else f"The cart's own model is better than a mix with any of the {asked} peers.",
            )
            return
        version = await in_thread(
            self._versions.add, Origin.AGGREGATED, target, judged.trained, round_number=self.log.present.number
        )
        for model in accepted:
            if model.peer not in left_out:
                self.known.add(model.digest)
        await self.log.save(new_version=version.number, new_value=version.value, metric=version.metric)
        await self.log.end(
            Outcome.AGGREGATED,
            f"Averaged with {taken} of {asked} peers: version {version.number}, "
            f"{measured_words(base)} → {metric.figure(version.value)}.",
        )

    def _collection(self) -> Collection:
        settings, base = self._book.current, self._versions.newest
        window = AcceptWindow(settings.accept_backward, settings.accept_forward, Metric.of(base.metric))
        judge = partial(window.judge, base.value)
        return Collection(self._peers, self._trainer, self._versions.stored(), self.known, judge, self.log.add_verdict)

    async def _find_cluster(self) -> FoundCluster:
        """Ask for a cluster until there is one, or until ``cluster_wait_s`` is over."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S)
        while True:
            settings = self._book.current  # read in each turn: the operator may change them to end the search
            self._check_sharing()
            self.sharing.become(Role.KERNEL)
            try:
                return await self._peers.find_cluster(settings.cluster_size, settings.min_peers)
            except NotEnoughPeers as few:
                outcome, sentence = Outcome.NOT_ENOUGH_PEERS, str(few)
            except TransferError as error:
                outcome, sentence = Outcome.BRIDGE_AWAY, str(error)
            self.sharing.become(Role.SHELL)
            delay_s = backoff.next_delay_s()
            if loop.time() + delay_s > started_at + settings.cluster_wait_s:
                raise _NoCluster(outcome, sentence)
            self._activity.note(f"No cluster yet: {sentence} Asking again in {delay_s:.1f} s.")
            await asyncio.sleep(delay_s)

    def _check_sharing(self) -> None:
        if not self.sharing.is_on:
            raise _NoCluster(Outcome.SHARING_PAUSED, "Sharing is paused: the cart trained alone.")

    async def _wait_for_rows(self) -> None:
        said = False
        while True:
            self.wake.clear()
            waiting = await in_thread(self._store.waiting_count)
            is_due = waiting >= self._book.current.dataset_size
            may_begin = await self._come_from_enough_sales() if is_due else False
            if may_begin or (self._train_now and waiting > 0):
                self._train_now = False
                return
            if is_due and not said:
                self._activity.note("Enough rows wait, but of too few sales: the round begins when others have come.")
                said = True
            if self._train_now:
                self._train_now = False
                self._activity.note("There is nothing to train on: no rows wait.")
            await self.wake.wait()

    async def _come_from_enough_sales(self) -> bool:
        settings = self._book.current
        waiting = await in_thread(self._store.waiting_rows, settings.max_round_rows)
        enough = len(chosen_rows(waiting, settings.dataset_size)) >= settings.dataset_size
        return enough or len(waiting) == settings.max_round_rows
