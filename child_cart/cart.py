"""A cart: builds its parts, wires them, runs them, and stops them in order. Everything else is handed what it needs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cart_common import __version__
from cart_common.process.backoff import Backoff
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError
from cart_common.process.tasks import in_thread
from cart_common.process.tls import serving_context
from cart_common.wire.fleet_key import OPEN, FleetKeyError, Secret, bridge_token, read_key
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Code, Role
from cart_common.wire.records import CART_LIFE_S

from .api.access.account import Account
from .api.app import create_app
from .api.services import Services, build_services
from .api.serving.page_server import PageServer
from .config import CartSettings, SettingsBook, bridge_urls, exchange_limits, origins_of
from .db.ownership import check_whose, make_own, open_store
from .db.store import Store, StoreError
from .learning.activity import Activity
from .learning.bootstrap import BEFORE_STARTER, Bootstrap
from .learning.exports import Exports
from .learning.rounds import Rounds
from .learning.versions import Versions
from .model.codec import CODEC
from .model.csv_rows import read_rows
from .model.partition import Partition
from .model.precision import Precision
from .model.process_trainer import ProcessTrainer, TrainerSetup
from .model.task import Task
from .network.bridge_file import BridgeFile
from .network.bridge_probe import BridgeProbe
from .network.bridge_selection import BridgeSelection
from .network.handshake import Standing
from .network.link import Link, LinkDown, LinkState
from .operation.log_buffer import LogBuffer
from .operation.operator_service import CartRequests
from .operation.status import CartInfo
from .operation.status_service import LearningSources, NetworkSources
from .scanner.camera import Camera
from .scanner.reader import Reader
from .scanner.service import ScannerService
from .shop.billing import CATALOGUE
from .shop.shared_catalogue import SharedCatalogue
from .transfers.assembly import TransferError
from .transfers.exchange import Exchange, ExchangeLimits
from .transfers.outgoing import Offerable
from .transfers.peer_discovery import PeerDiscovery
from .transfers.sealing import best_cipher
from .transfers.spool import Spool

log = logging.getLogger("cart")

LEAVE_S = 2.0
RETRY_FIRST_S = 1.0
RETRY_CAP_S = 60.0
KEEP_BRIDGES_S = 2.0


class Cart:
    """One cart, from its data folder to its pages.

    Args:
        settings: those of the start.
        task: what is learned.
        folder: the data folder, which nobody else uses now.

    Raises:
        StoreError, IdentityError, SettingError, CsvError: if what lies in the folder, the port, the certificate or the
            starter rows cannot be used.
    """

    def __init__(self, settings: CartSettings, task: Task, folder: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._folder = folder
        self._account = Account(folder, settings.admin_password_file)
        self._model_known = asyncio.Event()
        self._reset_asked = asyncio.Event()
        self._forgetting = False
        identity = Identity.load_or_create(folder / "key.pem")
        owner = identity.cart_id.hex()
        self._store: Store = open_store(settings.store, folder, settings.store_timeout_s)
        check_whose(self._store, settings.store, folder, owner)
        if not self._store.items():
            self._store.put_items(CATALOGUE)
        self._book = SettingsBook(settings, self._store)
        self._versions = Versions(self._store, folder / "models", Precision(settings.wire_precision))
        _check_folder(self._versions, task, settings, folder)
        repaired = self._versions.repair()
        make_own(self._store, settings.store, folder, owner)
        self._signature = self._versions.newest.signature if self._versions.current else ""
        self._trainer = ProcessTrainer(_trainer_setup(settings, folder))
        fleet_key = _fleet_key_of(settings)
        self._bridge_file = BridgeFile(folder / "bridges.json")
        self._bridges = BridgeSelection(
            *(bridge_urls(settings), settings.reconnect_first_s, settings.reconnect_cap_s, time.monotonic, time.time)
        )
        self._bridges.remember(self._bridge_file.load())
        times = (settings.heartbeat_s, settings.connect_timeout_s)
        tls = _tls_of(settings)
        self._link = Link(self._bridges, identity, fleet_key, tls, self._standing, *times)
        self._exchange = Exchange(
            identity,
            fleet_key,
            best_cipher(cpu_flags()),
            self._link,
            Spool(folder / "incoming"),
            self._offer,
            lambda: (self._signature, CODEC),
            self._limits,
        )
        self._bridge_probe = BridgeProbe(self._bridges, tls, self._consider)
        self._peer_discovery = PeerDiscovery(
            self._exchange, self._bridges, bridge_token(fleet_key), self._link.to_visit
        )
        self._activity = Activity()
        if repaired:
            self._activity.note(repaired)
        self._catalogue = (
            SharedCatalogue(settings.catalogue, self._store, self._activity.note, settings.store_timeout_s)
            if settings.catalogue
            else None
        )
        self._rounds = Rounds(
            self._book, self._store, self._versions, self._trainer, self._peer_discovery, self._link, self._activity
        )
        self._preparation = Bootstrap(
            self._book,
            self._versions,
            self._trainer,
            self._peer_discovery,
            self._activity,
            task.name,
            self._rounds.become,
            self._link.wait_attached,
            self._on_model_known,
        )
        self._camera, self._reader = Camera(settings.camera), Reader()
        self._log_buffer = LogBuffer()
        self._exports = Exports(folder / "exports", self._versions, self._trainer)
        self._book.on_change(lambda: self._in_loop(self._take_settings))
        tls = serving_context(settings.tls_cert, settings.tls_key, "CART")
        services = self._services(CartInfo(__version__, task.name, owner), task)
        application = create_app(services, self._account, _page_hosts(settings), origins_of(settings))
        self._pages = PageServer(application, settings.host, settings.port, tls)
        self._account.keep()  # last: a start that fails above shows no password, so it must not keep one either

    def _services(self, info: CartInfo, task: Task) -> Services:
        """Return what stands behind the pages; it runs in their threads, and reaches the loop by requests alone."""
        return build_services(
            info,
            task,
            self._folder,
            self._book,
            self._store,
            ScannerService(self._store, self._camera, self._reader),
            self._log_buffer,
            LearningSources(
                self._rounds, self._versions, self._activity, self._exports, lambda: self._trainer.process_id
            ),
            NetworkSources(self._link, self._bridges, self._exchange),
            CartRequests(
                rows_added=lambda: self._in_loop(self._rounds.wake.set),
                training=lambda: self._in_loop(self._ask_training),
                reset=lambda: self._in_loop(self._reset_asked.set),
                export=lambda kind: self._in_loop(lambda: self._exports.ask(kind)),
            ),
        )

    @property
    def page_url(self) -> str:
        """Where the pages are."""
        return self._pages.url

    @property
    def made_password(self) -> str | None:
        """The password of the admin page, if it was made up at this start."""
        return self._account.made_password

    async def run(self, stop: asyncio.Event) -> None:
        """Serve pages, stay attached and learn until ``stop`` is set; then leave the bridge and close everything."""
        logging.getLogger().addHandler(self._log_buffer)
        if not self._book.current.fleet_key_file:
            log.warning("no --fleet-key-file was given: the fleet is open, and whoever runs a bridge can add carts")
        try:
            with self._pages:
                async with asyncio.TaskGroup() as group:
                    link = group.create_task(self._stay_attached(), name="link")
                    others = [
                        group.create_task(self._learn(), name="learning"),
                        group.create_task(self._keep_catalogue(), name="catalogue"),
                        group.create_task(self._keep_bridges(), name="bridges"),
                        group.create_task(self._stay_published(), name="publishing"),
                        group.create_task(self._bridge_probe.run(), name="survey"),
                    ]
                    await stop.wait()
                    log.info("stopping")
                    for task in others:
                        task.cancel()
                    await self._leave()
                    link.cancel()
        finally:
            # At the same time: each may wait for a process or a thread, and whoever stops a cart waits only so long.
            await asyncio.gather(
                self._exchange.close(),
                self._exports.close(),
                self._trainer.close(),
                in_thread(self._camera.close),
                in_thread(self._reader.close),
            )
            await in_thread(self._store.close)
            logging.getLogger().removeHandler(self._log_buffer)

    async def _stay_attached(self) -> None:
        await self._model_known.wait()
        await self._link.run(self._exchange)

    async def _keep_catalogue(self) -> None:
        while self._catalogue is not None:
            await self._catalogue.refresh()
            await asyncio.sleep(self._book.current.catalogue_every_s)

    async def _keep_bridges(self) -> None:
        kept, home = 0, ""
        while True:
            await asyncio.sleep(KEEP_BRIDGES_S)
            link = self._link.status
            if link.state is LinkState.ATTACHED and link.url != home:
                if home:
                    self._activity.note(f"The cart has moved from the bridge {home} to {link.url}.")
                home = link.url
            if kept != self._bridges.changes:
                kept = self._bridges.changes
                await in_thread(self._bridge_file.save, self._bridges.known())

    def _consider(self, url: str) -> None:
        """Go to a bridge that has turned out to be much better, when nothing is under way."""
        at_rest = self._rounds.role is Role.SHELL and not self._exchange.is_busy
        if at_rest and self._bridges.is_much_better(url, self._link.status.url):
            self._link.move(url)

    async def _stay_published(self) -> None:
        while True:
            await asyncio.sleep(CART_LIFE_S / 2)
            with suppress(LinkDown):
                self._link.publish()

    async def _learn(self) -> None:
        """Prepare and go through rounds; begin anew after each reset."""
        while True:
            async with asyncio.TaskGroup() as group:
                learning = group.create_task(self._prepare_and_learn(), name="rounds")
                await self._reset_asked.wait()
                learning.cancel()
            self._reset_asked.clear()
            self._forgetting = True

    async def _prepare_and_learn(self) -> None:
        """Learn for ever; a store or a disk that fails for a while costs the round, and nothing that was kept."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S)
        while True:
            try:
                if self._forgetting:
                    backup = await in_thread(self._versions.forget, self._folder / "backups")
                    self._forgetting = False
                    self._activity.note(
                        "The model was reset; sales and rows are kept, and all rows wait again. "
                        f"What was removed lies in {backup}."
                    )
                else:
                    await in_thread(self._versions.reload)
                await self._preparation.run()
                await self._rounds.run()
            except (StoreError, OSError) as error:
                delay_s = backoff.next_delay_s()
                self._activity.note(f"Learning is held up: {error} Trying again in {delay_s:.0f} s.")
                await asyncio.sleep(delay_s)

    async def _leave(self) -> None:
        with suppress(LinkDown, OSError):  # on the way out, a link that is broken is as good as one that was left
            await self._link.leave(LEAVE_S)

    def _limits(self) -> ExchangeLimits:
        limits = exchange_limits(self._book.current)
        # A transfer may take as long as its size says: one that is made huge would hold up the round for hours.
        return replace(limits, max_model_bytes=min(limits.max_model_bytes, self._versions.most_encoded_bytes()))

    async def _offer(self) -> Offerable | None:
        if not self._is_sharing:
            raise TransferError(Code.NO_MODEL, "This cart shares no models now: its operator has paused that.")
        await self._rounds.training_done(self._book.current.answer_timeout_s / 3)
        return await self._versions.offerable()

    def _on_model_known(self) -> None:
        self._signature = self._versions.newest.signature
        self._model_known.set()

    def _standing(self) -> Standing:
        version = self._versions.current
        # A bridge picks no cart without a trained version: while sharing is paused, this one is as good as without.
        number = version.number if version and self._is_sharing else 0
        return Standing(self._rounds.role, self._signature, number)

    @property
    def _is_sharing(self) -> bool:
        return self._book.current.sharing == "on"

    def _take_settings(self) -> None:
        """Let what waits for something look at the settings anew, and the bridge know if sharing was switched."""
        self._rounds.wake.set()
        self._rounds.become(self._rounds.role)

    def _ask_training(self) -> None:
        self._rounds.train_now = True
        self._rounds.wake.set()

    def _in_loop(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)


def _page_hosts(settings: CartSettings) -> frozenset[str]:
    names = (settings.host, socket.gethostname(), *settings.page_hosts.split(","))
    return frozenset(name.strip().lower() for name in names if name.strip())


def _fleet_key_of(settings: CartSettings) -> bytes:
    if not settings.fleet_key_file:
        return OPEN
    try:
        return read_key(Path(settings.fleet_key_file), Secret.FLEET_KEY)
    except FleetKeyError as error:
        raise SettingError(f"--fleet-key-file (CART_FLEET_KEY_FILE) is {settings.fleet_key_file!r}; {error}.") from None


def _tls_of(settings: CartSettings) -> ssl.SSLContext | None:
    if not settings.bridge_ca:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(settings.bridge_ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f"--bridge-ca (CART_BRIDGE_CA) is {settings.bridge_ca!r}; it is to name a CA certificate "
            f"({error_words(error)})."
        ) from None
    return context


def cpu_flags() -> str:
    """Return what the processor can do, as the kernel names it; nothing where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _check_folder(versions: Versions, task: Task, settings: CartSettings, folder: Path) -> None:
    """Refuse a folder with the model of another task, and starter rows that the trainer would stumble over later."""
    current = versions.current
    if current is not None and current.task != task.name:
        raise SettingError(
            f"The data folder {folder} holds a model of the task {current.task!r}, not {task.name!r}. "
            "Give this task a folder of its own with --data-dir (CART_DATA_DIR)."
        )
    if settings.data and (current is None or current.origin in BEFORE_STARTER):
        read_rows(task, Path(settings.data))


def _trainer_setup(settings: CartSettings, folder: Path) -> TrainerSetup:
    partition = Partition.parse(settings.share)
    return TrainerSetup(
        task=settings.task,
        partition=(partition.index, partition.count),
        data=os.path.abspath(settings.data) if settings.data else "",
        starter_rows=settings.starter_rows,
        threads=settings.train_threads,
        memory_bytes=settings.trainer_memory_bytes,
        idle_s=settings.trainer_idle_s,
        silence_s=settings.trainer_silence_s,
        log_path=folder / "trainer.log",
    )
