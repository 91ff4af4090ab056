"""What a cart does now, and what it did lately, for its pages and its log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..model.trainer import Epoch

log = logging.getLogger("cart.rounds")
EVENTS_KEPT: Final = 50
NAMED: Final = 3


def listed(texts: Sequence[str]) -> str:
    """Return the first few texts for an event, and how many more there are."""
    more = [f"and {len(texts) - NAMED} more"] if len(texts) > NAMED else []
    return "; ".join([*texts[:NAMED], *more])


class Stage(StrEnum):
    """What a cart does with its model now."""

    PREPARING = "PREPARING"
    JOINING = "JOINING"
    STARTING = "STARTING"
    SERVING = "SERVING"
    TRAINING = "TRAINING"
    CLUSTERING = "CLUSTERING"
    COLLECTING = "COLLECTING"
    AVERAGING = "AVERAGING"


# From every stage a cart can fall back to SERVING (the round was given up) or to PREPARING (the model was reset).
TRANSITIONS: Final = {
    Stage.PREPARING: {Stage.JOINING, Stage.STARTING},
    Stage.JOINING: {Stage.STARTING},
    Stage.STARTING: set[Stage](),
    Stage.SERVING: {Stage.TRAINING, Stage.CLUSTERING},
    Stage.TRAINING: {Stage.CLUSTERING},
    Stage.CLUSTERING: {Stage.COLLECTING},
    Stage.COLLECTING: {Stage.CLUSTERING, Stage.AVERAGING},
    Stage.AVERAGING: set[Stage](),
}
ALWAYS: Final = {Stage.SERVING, Stage.PREPARING}


@dataclass(frozen=True)
class Event:
    """Something that happened; ``at`` in seconds since the epoch."""

    at: float
    text: str


class Activity:
    """The present stage, the progress of a training, and the last events.

    Attributes:
        since: when the stage began, by the monotonic clock.
        trouble: why the cart does not learn now, as a sentence; empty while it does.
    """

    def __init__(self) -> None:
        self.stage = Stage.PREPARING
        self.since = time.monotonic()
        self.epoch: Epoch | None = None
        self.trouble = ""
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)

    def move_to(self, stage: Stage) -> None:
        """Change the stage, and log that; the only place where it changes."""
        if stage not in TRANSITIONS[self.stage] | ALWAYS:
            raise RuntimeError(f"A cart does not go from {self.stage} to {stage}.")
        log.debug("%s -> %s", self.stage, stage)
        self.stage, self.since, self.epoch = stage, time.monotonic(), None

    def report_epoch(self, epoch: Epoch) -> None:
        """Record the progress of a training."""
        self.epoch = epoch

    def note(self, text: str) -> None:
        """Keep and log an event."""
        self._events.append(Event(time.time(), text))
        log.info("%s", text)

    def events(self) -> list[Event]:
        """Return the last events, newest first."""
        return list(reversed(self._events.copy()))
