"""A ``Trainer`` without a process: a model is its accuracy, written as text. Tests can make it fail or wait."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from child_cart.model.trainer import (
    NO_REHEARSAL,
    Epoch,
    EpochReport,
    Initial,
    Judged,
    MixingRule,
    Offered,
    Rehearsal,
    Row,
    Score,
    Stored,
    Trained,
    TrainerError,
)
from child_cart.model.verdict import VerdictReason

from .node import SIGNATURE


class FakeTrainer:
    """Train by adding a tenth; average by taking the mean."""

    def __init__(self) -> None:
        self.trained_on: list[Row] = []
        self.rehearsed: list[list[Row]] = []
        self.labelled: list[int] = []
        self.bad_old: set[int] = set()
        self.rules: list[MixingRule] = []
        self.leaving_out: set[float] = set()
        self.keeping_own = False
        self.ruining = False
        self.failing: set[str] = set()
        self.hold = asyncio.Event()
        self.hold.set()
        self.process_id: int | None = None
        self.signature = SIGNATURE

    async def initialise(self, target: Path) -> Initial:
        await self._begin("initialise")
        return Initial(self._write(target, 0.0), self.signature, 10)

    async def start(self, base: Stored, own_rows: list[Row], target: Path, report: EpochReport) -> Trained:
        await self._begin("start")
        return Trained(self._write(target, 0.3), 0.3, {}, rows=5)

    async def train(
        self,
        base: Stored,
        rows: list[Row],
        own_rows: list[Row],
        target: Path,
        report: EpochReport,
        rehearsal: Rehearsal = NO_REHEARSAL,
    ) -> Trained:
        report(Epoch(1, 2, 0.5))
        await self._begin("train")
        places = [place for place, row in enumerate([*rows, *own_rows]) if "bad" in row]
        before = len(rows) + len(own_rows)
        places += [before + place for place, row in enumerate(rehearsal.old_rows) if row["n"] in self.bad_old]
        self.rehearsed.append(list(rehearsal.old_rows))
        self.labelled.append(rehearsal.labelled)
        faults = [{"place": place, "reason": "it is bad"} for place in places]
        kept = [row for row in rows if "bad" not in row]
        self.trained_on += kept
        if self.ruining:
            before = float(base.path.read_text())
            return Trained(self._write(target, before), before, {}, len(kept), faults=faults, ruined_value=0.01)
        accuracy = min(float(base.path.read_text()) + 0.1, 1.0)
        return Trained(
            self._write(target, accuracy),
            accuracy,
            {},
            rows=len(kept),
            rehearsed=len(rehearsal.old_rows),
            faults=faults,
        )

    async def score(self, base: Stored, payload: Path) -> Score:
        await self._begin("score")
        text = payload.read_text()
        return Score(reason=VerdictReason(text)) if text.isupper() else Score(float(text))

    async def adopt(self, base: Stored, payload: Path, target: Path) -> Judged:
        await self._begin("adopt")
        accuracy, own = float(payload.read_text()), float(base.path.read_text())
        return Judged(Trained(self._write(target, accuracy), accuracy, {}) if accuracy >= own else None, accuracy, own)

    async def mix(
        self, base: Stored, samples: int, received: list[Offered], own_rows: list[Row], target: Path, rule: MixingRule
    ) -> Judged:
        await self._begin("mix")
        self.rules.append(rule)
        own = float(base.path.read_text())
        given = [float(one.path.read_text()) for one in received]
        left_out = tuple(place for place, value in enumerate(given) if value in self.leaving_out)
        values = [own, *(value for value in given if value not in self.leaving_out)]
        mean = sum(values) / len(values)
        if self.keeping_own:
            return Judged(None, mean, own, left_out)
        return Judged(Trained(self._write(target, mean), mean, {}), mean, own, left_out)

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        await self._begin("export")
        target.write_text(f"{kind} {base.path.read_text()}")

    async def close(self) -> None:
        pass

    async def _begin(self, command: str) -> None:
        await self.hold.wait()
        if command in self.failing:
            raise TrainerError(f"{command} fails as told.")

    @staticmethod
    def _write(target: Path, accuracy: float) -> str:
        target.write_text(str(accuracy))
        return hashlib.sha256(target.read_bytes()).hexdigest()
