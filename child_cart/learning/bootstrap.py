"""The first minutes of a cart: starting weights, a peer's model if there is one, and starter training."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from cart_common.process.backoff import Backoff
from cart_common.process.settings import SettingError
from cart_common.process.tasks import in_thread
from cart_common.wire.messages import Role

from ..config import CartSettings, SettingsBook
from ..db.records import Origin, Verdict
from ..model.csv_rows import check_file
from ..model.metric import Metric
from ..model.task import Task
from ..model.trainer import Trainer, TrainerError
from ..model.verdict import VerdictReason
from ..transfers.assembly import TransferError
from ..transfers.bridge_requests import NotEnoughPeers
from ..transfers.peer_discovery import Peers
from .activity import Activity, Stage, listed
from .collection import Collection
from .sharing import Sharing
from .versions import Versions, measured_words

BEFORE_STARTER: Final = (Origin.INITIAL, Origin.JOINED)
RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 60.0


class Bootstrap:
    """Brings a cart to its first trained version; for a cart that has one it does nothing.

    Args:
        task: its name is kept with the model.
        sharing: takes the cart's role, and the model's signature as soon as it is known.
        wait_attached: returns when the link is attached.
    """

    def __init__(
        self,
        book: SettingsBook,
        versions: Versions,
        trainer: Trainer,
        peers: Peers,
        activity: Activity,
        task: Task,
        sharing: Sharing,
        wait_attached: Callable[[], Awaitable[None]],
    ) -> None:
        self._book = book
        self._versions = versions
        self._trainer = trainer
        self._peers = peers
        self._activity = activity
        self._task = task
        self._sharing = sharing
        self._wait_attached = wait_attached

    async def run(self) -> None:
        """Do what is left to do, and try again while the trainer fails."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S)
        while True:
            self._activity.move_to(Stage.PREPARING)
            try:
                await self._prepare()
                self._activity.trouble = ""
                return
            except TrainerError as error:
                delay_s = backoff.next_delay_s()
                if self._activity.trouble != str(error):  # what stays wrong is said once
                    self._activity.trouble = str(error)
                    self._activity.note(f"The model is not ready: {error} Trying again in {delay_s:.0f} s at first.")
                await asyncio.sleep(delay_s)

    async def _prepare(self) -> None:
        if self._versions.current is None:
            target = self._versions.new_target()
            initial = await self._trainer.initialise(target)
            await in_thread(self._versions.add_initial, self._task.name, target, initial)
            self._activity.note(f"The model has {initial.parameters:,} parameters.")
        self._sharing.take_signature()
        self._check_model()
        model_bytes, most = self._versions.sent_bytes(), self._book.current.max_model_bytes
        if model_bytes > most:
            self._activity.note(
                f"The model takes about {model_bytes:,} bytes as it is sent, more than max_model_bytes ({most:,}): "
                "this cart refuses the model of every peer."
            )
        if self._versions.newest.origin is Origin.INITIAL:
            self._activity.move_to(Stage.JOINING)
            await self._join()
        if self._versions.newest.origin in BEFORE_STARTER:
            self._activity.move_to(Stage.STARTING)
            await self._start()

    def _check_model(self) -> None:
        """Raise ``TrainerError`` if the model is one that this task had in an earlier version."""
        keeper = getattr(self._task, "kept_by", {}).get(self._versions.newest.signature)
        if keeper:
            raise TrainerError(
                f"The data folder holds the model that an earlier version had for the task {self._task.name!r}, of "
                f"another shape. Start the cart with --task {keeper} to go on with it, or forget it with the command "
                "reset and learn anew: sales and rows are kept, and all rows wait again."
            )

    async def _join(self) -> None:
        """Take over the best model that peers have; in a new fleet there is none."""
        if not self._sharing.is_on:
            self._activity.note("Starting without peers: sharing is paused.")
            return
        base = self._versions.stored()
        collection = Collection(self._peers, self._trainer, base, (), lambda _: VerdictReason.ACCEPTED, self._note)
        try:
            async with asyncio.timeout(self._book.current.join_wait_s):
                await self._wait_attached()
            self._sharing.become(Role.KERNEL)
            await collection.ask(await self._peers.find_cluster(self._book.current.cluster_size, minimum=1))
            metric = Metric.of(self._versions.newest.metric)
            for model in sorted(collection.accepted, key=lambda model: -metric.weight(model.value)):
                target = self._versions.new_target()
                judged = await self._trainer.adopt(base, model.path, target)
                if judged.trained is not None:
                    version = await in_thread(self._versions.add, Origin.JOINED, target, judged.trained)
                    self._activity.note(f"Took over a peer's model, {metric.words(version.value)}.")
                    break
                self._activity.note(
                    f"The model of cart {model.peer[:8]} is worse than an untrained one and is not taken over: "
                    f"{metric.words(judged.own_value)} → {metric.figure(judged.value)}."
                )
        except (TimeoutError, NotEnoughPeers, TransferError) as reason:
            self._activity.note(f"Starting without peers: {str(reason) or 'no bridge has taken this cart in yet.'}")
        finally:
            collection.close()
            await self._peers.close()
            self._sharing.become(Role.SHELL)

    async def _start(self) -> None:
        target = self._versions.new_target()
        trained = await self._trainer.start(self._versions.stored(), [], target, self._activity.report_epoch)
        version = await in_thread(self._versions.add, Origin.STARTER, target, trained)
        self._sharing.become(Role.SHELL)
        self._activity.note(f"Starter training on {trained.rows} rows done, {measured_words(version)}.")
        if trained.left_out:
            self._activity.note(f"Left out of the starter training: {listed(trained.left_out)}.")

    async def _note(self, verdict: Verdict) -> None:
        self._activity.note(f"Model of cart {verdict.peer[:8]}: {verdict.reason}. {verdict.sentence}")


def check_folder(versions: Versions, task: Task, settings: CartSettings, folder: Path) -> None:
    """Refuse a folder with the model of another task, and a file of rows whose first lines the trainer would refuse.

    Raises:
        SettingError, CsvError: if the folder or the rows cannot be used.
    """
    current = versions.current
    if current is not None and current.task != task.name:
        raise SettingError(
            f"The data folder {folder} holds a model of the task {current.task!r}, not {task.name!r}. "
            "Give this task a folder of its own with --data-dir (CART_DATA_DIR)."
        )
    if versions.has_other_personal_layers(getattr(task, "personal_layers", ())):
        raise SettingError(
            f"The data folder {folder} holds a model with other personal layers than the task {task.name!r} has now. "
            "Name those again, or forget the model with the command reset and learn anew: sales and rows are kept, "
            "and all rows wait again."
        )
    if settings.data and (current is None or current.origin in BEFORE_STARTER):
        check_file(task, Path(settings.data))
