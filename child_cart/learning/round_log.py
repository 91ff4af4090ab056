"""The record of the present round, in the store after each step, and how rounds and received models have ended."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cart_common.process.tasks import in_thread

from ..db.records import ModelVersion, Origin, Outcome, RoundRecord, Verdict
from ..db.store import LearningStore
from ..model.metric import Metric
from ..model.verdict import VerdictReason
from .activity import Activity
from .collection import SENTENCES


class RoundLog:
    """The records of rounds.

    Args:
        store: keeps them.
        activity: gets an event for each verdict and each end.

    Attributes:
        record: the present round, or None. It is replaced, never changed: page threads may be reading it.
        outcomes: how many rounds have ended with each outcome since the start.
        verdicts: how many received models have got each verdict since the start.
    """

    def __init__(self, store: LearningStore, activity: Activity) -> None:
        self._store = store
        self._activity = activity
        self._saving = asyncio.Lock()
        self.record: RoundRecord | None = None
        self.outcomes = Counter({str(outcome): 0 for outcome in Outcome})
        self.verdicts = Counter({str(reason): 0 for reason in VerdictReason})

    @property
    def present(self) -> RoundRecord:
        """The present round, where there must be one."""
        assert self.record is not None
        return self.record

    async def open_unfinished(self, newest: ModelVersion) -> None:
        """Open the last round again, if the last process was killed after its training and before its end.

        Args:
            newest: the newest version; tells how far the round has come.
        """
        last = await self._last()
        if last is None or last.outcome is not None:
            return
        if newest.round_number == last.number and newest.origin is Origin.LOCAL:
            self._activity.note(f"Going on with round {last.number}, which was cut short.")
            self.record = replace(
                last, local_version=newest.number, local_value=newest.value, verdicts=(), metric=newest.metric
            )
            return
        # Killed before the training was kept (its rows wait still), or after the average was.
        averaged = newest.round_number == last.number
        closed = replace(
            last,
            outcome=Outcome.AGGREGATED if averaged else Outcome.INTERRUPTED,
            new_version=newest.number if averaged else None,
            new_value=newest.value if averaged else None,
            metric=newest.metric,
            sentence="This round was cut short.",
            ended_at=time.time(),
        )
        await in_thread(self._store.save_round, closed)
        self.outcomes[str(closed.outcome)] += 1

    async def open_new(self) -> None:
        """Open a new round."""
        last = await self._last()
        record = RoundRecord(os.urandom(8).hex(), last.number + 1 if last else 1, time.time())
        await in_thread(self._store.save_round, record)
        self.record = record

    async def save(self, **changes: Any) -> None:
        """Change fields of the record, and save it."""
        self.record = replace(self.present, **changes)
        async with self._saving:  # the newest state last, whatever the threads do
            await in_thread(self._store.save_round, self.present)

    async def add_verdict(self, verdict: Verdict) -> None:
        """Add the verdict on a received model to the record."""
        await self.save(verdicts=(*self.present.verdicts, verdict))
        self.verdicts[str(verdict.reason)] += 1
        metric = Metric.of(self.present.metric)
        measured = "" if verdict.value is None else f" at {metric.words(verdict.value)}"
        word = "accepted" if verdict.reason == VerdictReason.ACCEPTED else f"dropped ({verdict.reason})"
        self._activity.note(f"Model of cart {verdict.peer[:8]} {word}{measured}: {verdict.sentence}")

    async def leave_out(self, peers: Collection[str]) -> None:
        """Change the verdicts on accepted models of these peers: they took no part in the mix."""
        if not peers:
            return
        verdicts = [
            replace(verdict, reason=VerdictReason.LEFT_OUT, sentence=SENTENCES[VerdictReason.LEFT_OUT])
            if verdict.peer in peers and verdict.reason == VerdictReason.ACCEPTED
            else verdict
            for verdict in self.present.verdicts
        ]
        await self.save(verdicts=tuple(verdicts))
        self.verdicts[str(VerdictReason.ACCEPTED)] -= len(peers)
        self.verdicts[str(VerdictReason.LEFT_OUT)] += len(peers)

    async def end(self, outcome: Outcome, sentence: str) -> None:
        """Save how the round has ended."""
        await self.save(outcome=outcome, sentence=sentence, ended_at=time.time())
        self.outcomes[str(outcome)] += 1
        self._activity.note(f"Round {self.present.number}: {outcome}. {sentence}")

    def close(self) -> None:
        """Close the record."""
        self.record = None

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the seconds that a block takes to the record; the next ``save`` keeps them."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            yield
        finally:
            phase_s = {**self.present.phase_s, phase: round(loop.time() - started_at, 4)}
            self.record = replace(self.present, phase_s=phase_s)

    async def _last(self) -> RoundRecord | None:
        records = await in_thread(self._store.rounds, 1)
        return records[0] if records else None
