"""What a cart asks of its trainer: commands that each name all that they need, and their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cart_common.process.json_values import Json

from .metric import ACCURACY
from .task import Row
from .verdict import VerdictReason


class TrainerError(Exception):
    """A training command was not carried out; the message says why."""


class PayloadRefused(TrainerError):
    """A peer's payload cannot be decoded."""


class TrainerDied(TrainerError):
    """The trainer process ended in the middle of a command, or had to be ended."""


@dataclass(frozen=True)
class Stored:
    """A weights file and its digest."""

    path: Path
    digest: str

    def named(self) -> Json:
        """Return it as the commands of a trainer name it."""
        return {"path": str(self.path), "digest": self.digest}


@dataclass(frozen=True)
class Initial:
    """The starting weights, and what they are the start of."""

    digest: str
    signature: str
    parameters: int
    metric: Json = field(default_factory=ACCURACY.as_json)


@dataclass(frozen=True)
class Trained:
    """A weights file that the trainer has written, and how good it is; the value is None if nothing measured it."""

    digest: str
    value: float | None
    summary: Json
    rows: int = 0
    metric: Json = field(default_factory=ACCURACY.as_json)
    rehearsed: int = 0
    """Rows that it was trained on beside the new ones."""
    faults: Sequence[Json] = ()
    """The ``place`` and ``reason`` of each row that is left out, counted over the rows, the own and the old ones."""
    left_out: Sequence[str] = ()
    """Starter rows that are left out, as words."""
    ruined_value: float | None = None
    """The value after a training that was not kept, because it ruined the model: this is the model before it."""


@dataclass(frozen=True)
class Score:
    """The value of a received model on the common evaluation rows, or the reason to drop it.

    It has neither where the task has no such rows.
    """

    value: float | None = None
    reason: VerdictReason | None = None

    @classmethod
    def of(cls, answer: Json) -> Score:
        """Return the score in a trainer's answer."""
        return cls(answer.get("value"), VerdictReason(answer["reason"]) if "reason" in answer else None)


@dataclass(frozen=True)
class Offered:
    """A received payload that may take part in a mix, and the samples that its peer tells; None if it tells none."""

    path: Path
    samples: int | None

    def named(self) -> Json:
        """Return it as the commands of a trainer name it."""
        return {"path": str(self.path), "samples": self.samples}


@dataclass(frozen=True)
class MixingRule:
    """How models are mixed.

    Attributes:
        aggregator: the name of one.
        momentum: part of the change of the round before that is added.
        earlier: the models at the start of this round and of the one before; None for no momentum.
    """

    aggregator: str
    momentum: float = 0.0
    earlier: tuple[Stored, Stored] | None = None

    def named(self) -> Json:
        """Return it as the commands of a trainer name it."""
        earlier = [one.named() for one in self.earlier] if self.earlier else None
        return {"aggregator": self.aggregator, "momentum": self.momentum, "earlier": earlier}


@dataclass(frozen=True)
class Judged:
    """What a mix, or a model to be adopted, has come to.

    Attributes:
        trained: the weights file that was written; None if it was worse, and the own model is kept.
        value: of the mix, on the judging rows, and
        own_value: of the own model on the same rows; None without such rows.
        left_out: places of the received models that took no part.
    """

    trained: Trained | None
    value: float | None = None
    own_value: float | None = None
    left_out: tuple[int, ...] = ()

    @classmethod
    def of(cls, answer: Json) -> Judged:
        """Return what is in a trainer's answer."""
        written = answer.get("written")
        return cls(
            Trained(**written) if written else None,
            answer.get("value"),
            answer.get("own_value"),
            tuple(answer.get("left_out", ())),
        )


@dataclass(frozen=True)
class Epoch:
    """The progress of a training."""

    epoch: int
    epochs: int
    loss: float | None
    """Mean loss of the epoch; None if it is not finite."""


@dataclass(frozen=True)
class Rehearsal:
    """What a training takes beside its new rows, so that the model does not forget.

    Attributes:
        old_rows: rows of earlier trainings.
        labelled: how many of the task's evaluation rows, with what the model says of them before the training.
        seed: decides which ones.
    """

    old_rows: Sequence[Row] = ()
    labelled: int = 0
    seed: int = 0

    def named(self) -> Json:
        """Return it as the command of a trainer names it."""
        return {"old_rows": list(self.old_rows), "labelled": self.labelled, "seed": self.seed}


NO_REHEARSAL: Final = Rehearsal()
EpochReport = Callable[[Epoch], None]


class Trainer(Protocol):
    """Trains, scores and mixes. Each call raises ``TrainerError`` if it is not carried out.

    Models are measured on the task's common evaluation rows. Only where a task has none, the cart's own versions are
    measured on ``own_rows``, its held-out ones: received models are then not measured.
    """

    @property
    def process_id(self) -> int | None:
        """The id of the trainer process, or None while there is none."""

    async def initialise(self, target: Path) -> Initial:
        """Write the task's starting weights."""

    async def start(self, base: Stored, own_rows: list[Row], target: Path, report: EpochReport) -> Trained:
        """Train on the starter rows."""

    async def train(
        self,
        base: Stored,
        rows: list[Row],
        own_rows: list[Row],
        target: Path,
        report: EpochReport,
        rehearsal: Rehearsal = NO_REHEARSAL,
    ) -> Trained:
        """Train on these rows, with a rehearsal beside them."""

    async def score(self, base: Stored, payload: Path) -> Score:
        """Check a received payload beside the base model, and measure it on the common evaluation rows, if any."""

    async def adopt(self, base: Stored, payload: Path, target: Path) -> Judged:
        """Make a received payload a weights file, unless it is worse than the base."""

    async def mix(
        self,
        base: Stored,
        samples: int,
        received: list[Offered],
        own_rows: list[Row],
        target: Path,
        rule: MixingRule,
    ) -> Judged:
        """Mix the base, which was trained on so many rows, with received payloads, and write what is not worse."""

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        """Write the model in a format that other programs read."""

    async def close(self) -> None:
        """End the process."""
