"""A cart's learning from start to stop: bootstrap, then rounds; from the beginning again after a reset."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from cart_common.process.backoff import Backoff
from cart_common.process.tasks import in_thread

from ..db.store import StoreError
from .activity import Activity
from .bootstrap import Bootstrap
from .rounds import Rounds
from .versions import Versions

RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 60.0


class Lifecycle:
    """Runs bootstrap and rounds, and resets the model on request.

    Args:
        versions: what a reset removes.
        bootstrap: brings the cart to its first trained version.
        rounds: what the cart does from then on.
        activity: gets an event for each reset and each failure.
        backups: the folder that keeps what a reset removes.
    """

    def __init__(
        self, versions: Versions, bootstrap: Bootstrap, rounds: Rounds, activity: Activity, backups: Path
    ) -> None:
        self._versions = versions
        self._bootstrap = bootstrap
        self._rounds = rounds
        self._activity = activity
        self._backups = backups
        self._reset_asked = asyncio.Event()
        self._must_forget = False

    def ask_reset(self) -> None:
        """Forget the model and begin again. Call this in the loop."""
        self._reset_asked.set()

    async def run(self) -> None:
        """Learn until cancelled; each reset starts the learning again."""
        while True:
            async with asyncio.TaskGroup() as group:
                learning = group.create_task(self._learn(), name="rounds")
                await self._reset_asked.wait()
                learning.cancel()
            self._reset_asked.clear()
            self._must_forget = True

    async def _learn(self) -> None:
        """Learn until cancelled; a store or a disk that fails for a while costs the round, and nothing else."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S)
        while True:
            try:
                if self._must_forget:
                    await self._forget()
                else:
                    await in_thread(self._versions.reload)
                await self._bootstrap.run()
                await self._rounds.run()
            except (StoreError, OSError) as error:
                delay_s = backoff.next_delay_s()
                self._activity.trouble = str(error)
                self._activity.note(f"Learning is held up: {error} Trying again in {delay_s:.0f} s.")
                await asyncio.sleep(delay_s)

    async def _forget(self) -> None:
        backup = await in_thread(self._versions.forget, self._backups)
        self._must_forget = False
        self._rounds.sharing.announce()  # there is nothing to give for now
        self._activity.note(
            f"The model was reset; sales and rows are kept, and all rows wait again. What was removed lies in {backup}."
        )
