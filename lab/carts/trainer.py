"""A cart's trainer without a process: the same commands, whose computations are made for all carts together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cart_common.process.json_values import Json
from child_cart.model.codec import CodecError
from child_cart.model.task import Row
from child_cart.model.trainer import (
    NO_REHEARSAL,
    EpochReport,
    Initial,
    Judged,
    MixingRule,
    Offered,
    Rehearsal,
    Score,
    Stored,
    Trained,
    TrainerError,
)
from child_cart.model.trainer_commands import Steps, Summarise, TrainerCommands
from child_cart.model.verdict import VerdictReason
from child_cart.model.weights_file import WeightsError

from .computing import Computing


class LabTrainer:
    """A ``Trainer``.

    Args:
        commands: those of the task; they keep no state, so that all carts may share them.
        computing: computes.
    """

    process_id = None

    def __init__(self, commands: TrainerCommands, computing: Computing) -> None:
        self._commands = commands
        self._computing = computing

    async def initialise(self, target: Path) -> Initial:
        """Write the task's starting weights."""
        return Initial(**await self._result(self._commands.initialise(str(target))))

    async def start(self, base: Stored, own_rows: list[Row], target: Path, report: EpochReport) -> Trained:
        """Train on the starter rows."""
        return Trained(**await self._result(self._commands.start(base.named(), own_rows, str(target))))

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
        steps = self._commands.train(base.named(), rows, own_rows, str(target), **rehearsal.named())
        return Trained(**await self._result(steps))

    async def score(self, base: Stored, payload: Path) -> Score:
        """Check a received payload beside the base model, and measure it on the common evaluation rows, if any."""
        try:
            answer = await self._result(self._commands.score(base.named(), str(payload)))
        except CodecError:
            return Score(reason=VerdictReason.BAD_PAYLOAD)
        return Score.of(answer)

    async def adopt(self, base: Stored, payload: Path, target: Path) -> Judged:
        """Make a received payload a weights file, unless it is worse than the base."""
        return Judged.of(await self._result(self._commands.adopt(base.named(), str(payload), str(target))))

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
        models = [one.named() for one in received]
        named = {**base.named(), "samples": samples}
        return Judged.of(await self._result(self._commands.mix(named, models, own_rows, str(target), **rule.named())))

    async def export(self, base: Stored, kind: str, target: Path) -> None:
        """Refuse: nobody exports from a simulated cart."""
        raise TrainerError("A simulated cart exports no model.")

    async def close(self) -> None:
        """Do nothing: there is no process."""

    async def _result(self, steps: Steps[Json]) -> Json:
        result: Any = None
        try:
            while True:
                wanted = steps.send(result)
                # Nobody looks at the summary of a simulated cart.
                result = {} if isinstance(wanted, Summarise) else await self._computing.result(wanted)
        except StopIteration as end:
            return dict(end.value)
        except WeightsError as error:  # an outcome of this cart's round; any other error ends the run
            raise TrainerError(str(error)) from error
        finally:
            steps.close()
