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
from pathlib import Path

from cart_common import __version__
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError
from cart_common.process.tasks import in_thread
from cart_common.process.tls import serving_context
from cart_common.wire.fleet_key import OPEN, FleetKeyError, Secret, bridge_token, read_key
from cart_common.wire.identity import Identity

from .api.access.account import Account
from .api.app import create_app
from .api.services import Services, build_services
from .api.serving.page_server import PageServer
from .config import CartSettings, SettingsBook, bridge_urls, origins_of
from .db.ownership import check_whose, make_own, open_store
from .db.store import Store
from .learning.activity import Activity
from .learning.bootstrap import BEFORE_STARTER, Bootstrap
from .learning.exports import Exports
from .learning.lifecycle import Lifecycle
from .learning.rounds import Rounds
from .learning.sharing import Sharing
from .learning.versions import Versions
from .model.csv_rows import read_rows
from .model.partition import Partition
from .model.precision import Precision
from .model.process_trainer import ProcessTrainer, TrainerSetup
from .model.task import Task
from .network.bridge_file import BridgeFile
from .network.bridge_probe import BridgeProbe
from .network.bridge_selection import BridgeSelection
from .network.bridge_upkeep import BridgeUpkeep
from .network.link import Link
from .network.link_interface import LinkDown
from .operation.log_buffer import LogBuffer
from .operation.operator_service import CartRequests
from .operation.status import CartInfo
from .operation.status_service import LearningSources, NetworkSources
from .scanner.camera import Camera
from .scanner.reader import Reader
from .scanner.service import ScannerService
from .shop.billing import CATALOGUE
from .shop.shared_catalogue import SharedCatalogue
from .transfers.cipher_choice import fastest_cipher
from .transfers.exchange import Exchange
from .transfers.peer_discovery import PeerDiscovery
from .transfers.spool import Spool

log = logging.getLogger("cart")

LEAVE_S = 2.0


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
        self._trainer = ProcessTrainer(_trainer_setup(settings, folder))
        fleet_key = _fleet_key_of(settings)
        bridge_file = BridgeFile(folder / "bridges.json")
        self._bridges = BridgeSelection(
            *(bridge_urls(settings), settings.reconnect_first_s, settings.reconnect_cap_s, time.monotonic, time.time)
        )
        self._bridges.remember(bridge_file.load())
        times = (settings.heartbeat_s, settings.connect_timeout_s)
        tls = _tls_of(settings)
        self._link = Link(self._bridges, identity, fleet_key, tls, *times)
        self._sharing = Sharing(self._book, self._versions, self._link)
        self._exchange = Exchange(
            *(identity, fleet_key, fastest_cipher(), self._link, Spool(folder / "incoming"), self._sharing)
        )
        peer_discovery = PeerDiscovery(self._exchange, self._bridges, bridge_token(fleet_key), self._link.to_visit)
        self._activity = Activity()
        self._bridge_upkeep = BridgeUpkeep(
            *(self._bridges, bridge_file, self._link, lambda: self._exchange.is_busy, self._activity)
        )
        self._bridge_probe = BridgeProbe(self._bridges, tls, self._bridge_upkeep.consider)
        if repaired:
            self._activity.note(repaired)
        self._catalogue = (
            SharedCatalogue(settings.catalogue, self._store, self._activity.note, settings.store_timeout_s)
            if settings.catalogue
            else None
        )
        self._rounds = Rounds(
            self._book, self._store, self._versions, self._trainer, peer_discovery, self._sharing, self._activity
        )
        bootstrap = Bootstrap(
            self._book,
            self._versions,
            self._trainer,
            peer_discovery,
            self._activity,
            task.name,
            self._sharing,
            self._link.wait_attached,
        )
        self._lifecycle = Lifecycle(self._versions, bootstrap, self._rounds, self._activity, folder / "backups")
        self._camera, self._reader = Camera(settings.camera), Reader()
        self._log_buffer = LogBuffer()
        self._exports = Exports(folder / "exports", self._versions, self._trainer)
        self._book.on_change(lambda: self._in_loop(self._rounds.wake.set))
        self._book.on_change(lambda: self._in_loop(self._sharing.announce))
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
                training=lambda: self._in_loop(self._rounds.ask_training),
                reset=lambda: self._in_loop(self._lifecycle.ask_reset),
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
                        group.create_task(self._lifecycle.run(), name="learning"),
                        group.create_task(self._keep_catalogue(), name="catalogue"),
                        group.create_task(self._bridge_upkeep.run(), name="bridge upkeep"),
                        group.create_task(self._bridge_probe.run(), name="bridge probe"),
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
        await self._sharing.model_known.wait()
        await self._link.run(self._exchange.home)

    async def _keep_catalogue(self) -> None:
        while self._catalogue is not None:
            await self._catalogue.refresh()
            await asyncio.sleep(self._book.current.catalogue_every_s)

    async def _leave(self) -> None:
        with suppress(LinkDown, OSError):  # on the way out, a link that is broken is as good as one that was left
            await self._link.leave(LEAVE_S)

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
