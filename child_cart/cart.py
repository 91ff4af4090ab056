"""A cart: ``build`` makes its parts and wires them; ``Cart`` runs them, and stops them in order. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Flask

from cart_common import __version__
from cart_common.process.addresses import networks_in
from cart_common.process.tasks import in_thread
from cart_common.process.tls import serving_context
from cart_common.wire.fleet_key import bridge_token
from cart_common.wire.identity import Identity

from .api.access.account import Account
from .api.app import create_app
from .api.services import Services, build_services
from .api.serving.page_server import PageServer
from .config import CartSettings, SettingsBook, bridge_urls, origins_of
from .config.resources import bridge_trust, fleet_key_of, forward_proxies, page_hosts, trainer_setup
from .db.ownership import check_whose, make_own, open_store
from .db.store import Store
from .learning.activity import Activity
from .learning.bootstrap import Bootstrap, check_folder
from .learning.exports import Exports
from .learning.lifecycle import Lifecycle
from .learning.rounds import Rounds
from .learning.sharing import Sharing
from .learning.versions import Versions
from .model.precision import Precision
from .model.process_trainer import ProcessTrainer
from .model.task import Task
from .model.trainer import Trainer
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
from .shop.billing import CATALOGUE, index
from .shop.item_codes import read_all
from .shop.shared_catalogue import SharedCatalogue
from .transfers.cipher_choice import fastest_cipher
from .transfers.exchange import Exchange
from .transfers.peer_discovery import PeerDiscovery
from .transfers.spool import Spool

log = logging.getLogger("cart")

LEAVE_S: Final = 2.0


class LoopCalls:
    """Passes calls from other threads on to the cart's event loop.

    A call that comes before the cart runs is dropped: a cart that starts looks at everything anyway.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass calls on to this loop from now on."""
        self._loop = loop

    def __call__(self, call: Callable[[], object]) -> None:
        """Let the loop make this call soon."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(call)


@dataclass(frozen=True)
class LocalParts:
    """What a cart keeps on its disk or in its database, and its diary."""

    identity: Identity
    store: Store
    book: SettingsBook
    versions: Versions
    activity: Activity


@dataclass(frozen=True)
class NetworkParts:
    """What reaches bridges and other carts."""

    bridges: BridgeSelection
    link: Link
    sharing: Sharing
    exchange: Exchange
    peer_discovery: PeerDiscovery
    upkeep: BridgeUpkeep
    probe: BridgeProbe


@dataclass(frozen=True)
class LearningParts:
    """What trains, collects and averages."""

    trainer: Trainer
    rounds: Rounds
    lifecycle: Lifecycle
    exports: Exports


@dataclass(frozen=True)
class ShopParts:
    """What a shop needs beside its store."""

    catalogue: SharedCatalogue | None
    camera: Camera
    reader: Reader


@dataclass(frozen=True)
class CartParts:
    """A cart that is wired and does not run yet."""

    local: LocalParts
    network: NetworkParts
    learning: LearningParts
    shop: ShopParts
    account: Account
    log_buffer: LogBuffer
    services: Services
    application: Flask
    in_loop: LoopCalls


def build(
    settings: CartSettings,
    task: Task,
    folder: Path,
    trainer: Trainer | None = None,
    camera: Camera | None = None,
    requests: CartRequests | None = None,
) -> CartParts:
    """Return a cart's parts, wired. Nothing listens and nothing runs yet.

    Args:
        settings: those of the start.
        task: what is learned.
        folder: the data folder, which no other process uses.
        trainer: None for the trainer process.
        camera: None for the one that the settings name.
        requests: gets what the pages ask of the running cart; None for the cart itself.

    Raises:
        StoreError, IdentityError, SettingError, CsvError: if what lies in the folder, a key file or the starter rows
            cannot be used.
    """
    in_loop, log_buffer = LoopCalls(), LogBuffer()
    account = Account(folder, settings.admin_password_file)
    local = _local_parts(settings, task, folder)
    network = _network_parts(settings, local, folder)
    trainer = trainer or ProcessTrainer(trainer_setup(settings, folder))
    learning = _learning_parts(local, network, trainer, task, folder)
    shop = ShopParts(
        SharedCatalogue(settings.catalogue, local.store, local.activity.note, settings.store_timeout_s)
        if settings.catalogue
        else None,
        camera or Camera(settings.camera),
        Reader(),
    )
    local.book.on_change(lambda: in_loop(learning.rounds.wake.set))
    local.book.on_change(lambda: in_loop(network.sharing.announce))
    services = build_services(
        CartInfo(__version__, task.name, local.identity.cart_id.hex()),
        task,
        folder,
        local.book,
        local.store,
        ScannerService(lambda texts: read_all(texts, index(local.store.items())), shop.camera, shop.reader),
        log_buffer,
        LearningSources(
            learning.rounds, local.versions, local.activity, learning.exports, lambda: learning.trainer.process_id
        ),
        NetworkSources(network.link, network.bridges, network.exchange),
        requests or _requests(in_loop, learning),
    )
    hosts, origins, proxies = page_hosts(settings), origins_of(settings), networks_in(settings.trusted_proxies)
    application = create_app(services, account, hosts, origins, proxies, settings.store_timeout_s)
    return CartParts(local, network, learning, shop, account, log_buffer, services, application, in_loop)


def _local_parts(settings: CartSettings, task: Task, folder: Path) -> LocalParts:
    identity, activity = Identity.load_or_create(folder / "key.pem"), Activity()
    owner = identity.cart_id.hex()
    store = open_store(settings.store, folder, settings.store_timeout_s)
    check_whose(store, settings.store, folder, owner)
    if not store.items():
        store.put_items(CATALOGUE)
    book = SettingsBook(settings, store)
    versions = Versions(store, folder / "models", Precision(settings.wire_precision))
    check_folder(versions, task, settings, folder)
    repaired = versions.repair()
    make_own(store, settings.store, folder, owner)
    if repaired:
        activity.note(repaired)
    return LocalParts(identity, store, book, versions, activity)


def _network_parts(settings: CartSettings, local: LocalParts, folder: Path) -> NetworkParts:
    fleet_key, tls, bridge_file = fleet_key_of(settings), bridge_trust(settings), BridgeFile(folder / "bridges.json")
    proxies, times = forward_proxies(settings, os.environ), (settings.heartbeat_s, settings.connect_timeout_s)
    delays = (settings.reconnect_first_s, settings.reconnect_cap_s)
    bridges = BridgeSelection(bridge_urls(settings), *delays, time.monotonic, time.time)
    bridges.remember(bridge_file.load())
    link = Link(bridges, local.identity, fleet_key, tls, *times, proxies=proxies)
    sharing = Sharing(local.book, local.versions, link)
    spool = Spool(folder / "incoming")
    exchange = Exchange(local.identity, fleet_key, fastest_cipher(), link, spool, sharing)
    peer_discovery = PeerDiscovery(exchange, bridges, bridge_token(fleet_key), link.to_visit)
    upkeep = BridgeUpkeep(bridges, bridge_file, link, lambda: exchange.is_busy, local.activity)
    probe = BridgeProbe(bridges, tls, upkeep.consider, proxies)
    return NetworkParts(bridges, link, sharing, exchange, peer_discovery, upkeep, probe)


def _learning_parts(
    local: LocalParts, network: NetworkParts, trainer: Trainer, task: Task, folder: Path
) -> LearningParts:
    book, store, versions, activity = local.book, local.store, local.versions, local.activity
    peers, sharing = network.peer_discovery, network.sharing
    rounds = Rounds(book, store, versions, trainer, peers, sharing, activity)
    bootstrap = Bootstrap(book, versions, trainer, peers, activity, task, sharing, network.link.wait_attached)
    lifecycle = Lifecycle(versions, bootstrap, rounds, activity, folder / "backups")
    return LearningParts(trainer, rounds, lifecycle, Exports(folder / "exports", versions, trainer))


def _requests(in_loop: LoopCalls, learning: LearningParts) -> CartRequests:
    """Return what the pages may ask of a cart: their threads reach the loop by these calls alone."""
    return CartRequests(
        rows_added=lambda: in_loop(learning.rounds.wake.set),
        training=lambda: in_loop(learning.rounds.ask_training),
        reset=lambda: in_loop(learning.lifecycle.ask_reset),
        export=lambda kind: in_loop(lambda: learning.exports.ask(kind)),
    )


class Cart:
    """A cart that runs.

    Args:
        settings: those of the start.
        parts: what ``build`` has made of them.

    Raises:
        SettingError: if the pages cannot be served at their address or with their certificate.
    """

    def __init__(self, settings: CartSettings, parts: CartParts) -> None:
        self._settings = settings
        self._parts = parts
        tls = serving_context(settings.tls_cert, settings.tls_key, "CART")
        self._pages = PageServer(
            parts.application, settings.host, settings.port, tls, networks_in(settings.trusted_proxies)
        )
        parts.account.keep()  # last: a start that fails above shows no password, so it must not keep one either

    @property
    def page_url(self) -> str:
        """Where the pages are."""
        return self._pages.url

    @property
    def made_password(self) -> str | None:
        """The password of the admin page, if it was made up at this start."""
        return self._parts.account.made_password

    async def run(self, stop: asyncio.Event) -> None:
        """Serve pages, stay attached and learn until ``stop`` is set; then leave the bridge and close everything."""
        parts = self._parts
        parts.in_loop.attach(asyncio.get_running_loop())
        logging.getLogger().addHandler(parts.log_buffer)
        if not self._settings.fleet_key_file:
            log.warning("no --fleet-key-file was given: the fleet is open, and anyone who runs a bridge can add carts")
        try:
            with self._pages:
                async with asyncio.TaskGroup() as group:
                    link = group.create_task(self._stay_attached(), name="link")
                    others = [
                        group.create_task(parts.learning.lifecycle.run(), name="learning"),
                        group.create_task(parts.network.upkeep.run(), name="bridge upkeep"),
                        group.create_task(parts.network.probe.run(), name="bridge probe"),
                        group.create_task(parts.network.link.stay_published(), name="publishing"),
                    ]
                    if parts.shop.catalogue is not None:
                        renewal = parts.shop.catalogue.keep_fresh(lambda: parts.local.book.current.catalogue_every_s)
                        others.append(group.create_task(renewal, name="catalogue"))
                    await stop.wait()
                    log.info("stopping")
                    for task in others:
                        task.cancel()
                    await self._leave()
                    link.cancel()
        finally:
            await self._close()

    async def _stay_attached(self) -> None:
        network = self._parts.network
        await network.sharing.model_known.wait()
        await network.link.run(network.exchange.home)

    async def _leave(self) -> None:
        with suppress(LinkDown, OSError):  # on the way out, a link that is broken is as good as one that was left
            await self._parts.network.link.leave(LEAVE_S)

    async def _close(self) -> None:
        parts = self._parts
        # At the same time: each may wait for a process or a thread, and a service manager waits only for so long.
        await asyncio.gather(
            parts.network.exchange.close(),
            parts.learning.exports.close(),
            parts.learning.trainer.close(),
            in_thread(parts.shop.camera.close),
            in_thread(parts.shop.reader.close),
        )
        await in_thread(parts.local.store.close)
        logging.getLogger().removeHandler(parts.log_buffer)
