"""The cart's settings: their names, defaults and help in one table, and the changes made while it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import Field, dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from cart_common.process.redaction import shown
from cart_common.process.settings import (
    SettingError,
    field_named,
    flag_name,
    option,
    option_of,
    parse_value,
    variable_name,
)
from cart_common.wire.records import is_bridge_url

from .db.ownership import is_mongodb, is_store
from .db.store import Store
from .model.partition import Partition
from .network.bridge_selection import MOST_BRIDGES
from .shop.catalogue import MAX_CURRENCY_CHARS, is_currency
from .transfers.limits import ExchangeLimits

log = logging.getLogger("cart.config")
MIB = 1024 * 1024
LEAST_TRAINER_BYTES = 64 * MIB
STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")


@dataclass(frozen=True)
class CartSettings:
    """All settings of a cart; also ``CART_…`` in the environment. Those with ``live`` can be changed while it runs."""

    bridge: str = option(
        "ws://127.0.0.1:9000",
        "the bridge to attach to, as ws://host:port or wss://host:port, or several with commas between them: one of "
        "them, by chance. Others are learned from it",
        listed=True,
    )
    bridge_ca: str = option("", "file with the CA certificate (PEM) to trust a wss:// bridge by, beside the system's")
    fleet_key_file: str = option("", "file with the fleet key that keygen has printed; without it the fleet is open")
    host: str = option("127.0.0.1", "address of the cart's pages; 0.0.0.0 for all")
    page_hosts: str = option("", "more names under which people ask for the pages, separated by commas", listed=True)
    port: int = option(5001, "port of the cart's pages; 0 takes a free one", minimum=0, maximum=65535)
    tls_cert: str = option("", "file with the certificate chain (PEM), to serve the pages at https:// instead")
    tls_key: str = option("", "file with the certificate's private key (PEM)")
    admin_password_file: str = option(
        "", "file with the password of the admin page, for the first start; without it one is made up and printed"
    )
    api_origins: str = option(
        "",
        "origins whose pages may read what is open to all, as https://host:port, separated by commas",
        listed=True,
    )
    camera: str = option(
        "", "the cart's own camera: a number as 0, a video file, or a stream as rtsp://host/path", secret=True
    )
    currency: str = option("", "what stands behind each price on pages and labels, as € or CHF")
    data_dir: str = option("data/cart", "folder for everything that this cart keeps")
    store: str = option(
        "embedded",
        "where sales, rows and records are kept: embedded (a file in the data folder) or mongodb://HOST/DATABASE, a "
        "database of this cart's own",
        secret=True,
    )
    store_timeout_s: float = option(5.0, "seconds for a MongoDB server to answer", minimum=0.1, maximum=300)
    catalogue: str = option(
        "", "database with a catalogue that carts share, as mongodb://HOST/DATABASE; each keeps a copy", secret=True
    )
    catalogue_every_s: float = option(60.0, "seconds between looks at the shared catalogue", minimum=0.1, maximum=86400)
    task: str = option("shopping", "what to learn: shopping, digits, or your own class as package.module:Class")
    data: str = option("", "CSV file with rows of your own to start from, instead of the task's")
    share: str = option("1/1", "which part of the task's starter data is this cart's; 2/4 is the second of four")
    starter_rows: int = option(10_000, "most rows of the starter data to train on", minimum=0, maximum=10_000_000)

    sharing: str = option(
        "on", "whether the cart gives its model to peers and asks for theirs", choices=("on", "off"), live=True
    )
    dataset_size: int = option(100, "waiting rows that start a round", minimum=1, maximum=1_000_000, live=True)
    max_round_rows: int = option(10_000, "most rows to train on in a round", minimum=1, maximum=1_000_000, live=True)
    cluster_size: int = option(3, "peers to ask for their models in a round", minimum=1, maximum=256, live=True)
    min_peers: int = option(1, "peers without which a round waits", minimum=1, maximum=256, live=True)
    accept_backward: float = option(
        25.0,
        "how much less accurate than its own a cart lets a received model be, in points",
        minimum=0,
        maximum=100,
        live=True,
    )
    accept_forward: float = option(
        75.0,
        "how much more accurate than its own a cart lets a received model be, in points",
        minimum=0,
        maximum=100,
        live=True,
    )
    weighting: str = option(
        "accuracy", "what models are weighted by in the average", choices=("accuracy", "samples", "uniform"), live=True
    )
    cluster_wait_s: float = option(
        60.0, "seconds to look for peers before a round ends without them", minimum=0, maximum=86400, live=True
    )
    # Two at least: where the newest file is damaged, the one before takes its place.
    keep_versions: int = option(5, "weights files to keep, the newest ones", minimum=2, maximum=10_000, live=True)
    keep_rounds: int = option(
        1000, "records of rounds to keep, with those of their versions", minimum=1, maximum=1_000_000, live=True
    )

    wire_precision: str = option(
        "half", "how models are sent: half (16 bits a weight, half the bytes) or full", choices=("half", "full")
    )
    max_model_bytes: int = option(
        256 * MIB, "largest model to receive, in bytes", minimum=1024, maximum=1 << 40, live=True
    )
    window_bytes: int = option(
        4 * MIB, "how far a sender may run ahead at most, in bytes", minimum=65536, maximum=1 << 30, live=True
    )
    answer_timeout_s: float = option(
        15.0, "seconds for the bridge or a peer to answer a request", minimum=0.1, maximum=3600, live=True
    )
    stall_timeout_s: float = option(
        # Longer than it takes to find out that a link is gone (one and a half heartbeats): its transfers are to wait.
        45.0,
        "seconds without a chunk after which a transfer is given up; more than one and a half heartbeats",
        minimum=0.1,
        maximum=3600,
        live=True,
    )
    resume_timeout_s: float = option(
        90.0,
        "seconds that a transfer waits for a lost link, its own or the peer's",
        minimum=0.1,
        maximum=86400,
        live=True,
    )
    slowest_bytes_per_s: float = option(
        20_000.0, "how slow a transfer may be as a whole, in bytes per second", minimum=1, maximum=1e12, live=True
    )
    join_wait_s: float = option(
        5.0, "seconds for a new cart to find the bridge before it starts on its own", minimum=0, maximum=3600
    )
    connect_timeout_s: float = option(10.0, "seconds for connecting and attaching", minimum=0.1, maximum=300)
    heartbeat_s: float = option(20.0, "seconds between pings to the bridge", minimum=0.1, maximum=3600)
    reconnect_first_s: float = option(0.5, "seconds before the first new try to attach", minimum=0.01, maximum=3600)
    reconnect_cap_s: float = option(15.0, "most seconds between two tries to attach", minimum=0.01, maximum=3600)

    train_threads: int = option(1, "threads of the trainer process", minimum=1, maximum=256)
    trainer_memory_bytes: int = option(
        0,
        "most memory of the trainer process, in bytes, not counting the libraries that it maps; 0 for no limit",
        minimum=0,
        maximum=1 << 50,
    )
    trainer_idle_s: float = option(
        60.0, "seconds after which a trainer process without work ends", minimum=0, maximum=86400
    )
    trainer_silence_s: float = option(
        600.0, "seconds without a word after which a trainer at work is ended", minimum=1, maximum=86400
    )
    log_level: str = option("INFO", "how much to log", choices=("DEBUG", "INFO", "WARNING", "ERROR"))


def check(settings: CartSettings) -> None:
    """Hold against each other what single values cannot tell.

    Raises:
        SettingError: for the first thing that does not fit.
    """
    urls = bridge_urls(settings)
    if not urls or not all(map(is_bridge_url, urls)):
        given = ",".join(map(shown, settings.bridge.split(",")))
        raise SettingError(
            f"--bridge (CART_BRIDGE) is {given!r}; it must be like ws://127.0.0.1:9000, or several such with commas "
            "between them."
        )
    if len(urls) > MOST_BRIDGES:
        raise SettingError(f"--bridge (CART_BRIDGE) names {len(urls)} bridges; {MOST_BRIDGES} are the most.")
    if not is_store(settings.store):
        raise SettingError(
            f"--store (CART_STORE) is {shown(settings.store)!r}; it must be embedded or like mongodb://HOST/DATABASE."
        )
    if settings.catalogue and not is_mongodb(settings.catalogue):
        raise SettingError(
            f"--catalogue (CART_CATALOGUE) is {shown(settings.catalogue)!r}; it must be like mongodb://HOST/DATABASE."
        )
    try:
        Partition.parse(settings.share)
    except ValueError as error:
        raise SettingError(f"--share (CART_SHARE): {error}") from None
    if not _is_camera(settings.camera):
        raise SettingError(
            f"--camera (CART_CAMERA) is {shown(settings.camera)!r}; it must be a number as 0, a video file, or the "
            f"URL of a stream ({', '.join(STREAMS)})."
        )
    _check_currency(settings)
    _check_origins(settings)
    if settings.min_peers > settings.cluster_size:
        raise SettingError(
            f"min_peers is {settings.min_peers}, but cluster_size is {settings.cluster_size}: "
            "a round could never have enough peers."
        )
    if 0 < settings.trainer_memory_bytes < LEAST_TRAINER_BYTES:
        raise SettingError(
            f"--trainer-memory-bytes (CART_TRAINER_MEMORY_BYTES) is {settings.trainer_memory_bytes}; it must be at "
            f"least {LEAST_TRAINER_BYTES}, in which a process can start, or 0 for no limit."
        )
    if settings.max_round_rows < settings.dataset_size:
        raise SettingError(
            f"max_round_rows is {settings.max_round_rows}, but dataset_size is {settings.dataset_size}: "
            "rows would come in faster than rounds could take them."
        )


def origins_of(settings: CartSettings) -> list[str]:
    """Return the origins whose pages may read what is open to all."""
    return [origin.strip() for origin in settings.api_origins.split(",") if origin.strip()]


def _check_currency(settings: CartSettings) -> None:
    if not is_currency(settings.currency):
        raise SettingError(
            f"--currency (CART_CURRENCY) is {settings.currency!r}; it must be a sign or a word as € or CHF, of at most "
            f"{MAX_CURRENCY_CHARS} characters."
        )


def _check_origins(settings: CartSettings) -> None:
    for origin in origins_of(settings):
        if not _is_origin(origin):
            raise SettingError(
                f"--api-origins (CART_API_ORIGINS) names {origin!r}; an origin is like https://shop.example:8443, "
                "with nothing behind it."
            )


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        return False


def _is_camera(text: str) -> bool:
    """Return whether this can be a camera; whether it is there is seen when somebody looks, again and again."""
    if text.isdecimal():
        return len(text) <= 3
    try:
        return "://" not in text or (urlsplit(text).scheme in STREAMS and bool(urlsplit(text).hostname))
    except ValueError:
        return False


def bridge_urls(settings: CartSettings) -> list[str]:
    """Return the bridges that the cart was told, each once."""
    urls = (url.strip().rstrip("/") for url in settings.bridge.split(","))
    return list(dict.fromkeys(url for url in urls if url))


def _shown_value(settings: CartSettings, entry: Field[Any]) -> Any:
    value = getattr(settings, entry.name)
    return shown(value) if option_of(entry).secret else value


def exchange_limits(settings: CartSettings) -> ExchangeLimits:
    """Return what the settings say of transfers."""
    return ExchangeLimits(
        max_model_bytes=settings.max_model_bytes,
        window_bytes=settings.window_bytes,
        answer_timeout_s=settings.answer_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        resume_timeout_s=settings.resume_timeout_s,
        slowest_bytes_per_s=settings.slowest_bytes_per_s,
    )


class SettingsBook:
    """The settings as they hold now: those of the start, with the changes that were made on the admin page.

    A change outlives a restart, and wins over flags and environment until it is taken back: whoever changed it did so
    later than whoever wrote the start-up command.
    """

    def __init__(self, start: CartSettings, store: Store) -> None:
        self._start = start
        self._store = store
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.current = self._at_start(store.settings())

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this after each change, from the thread that makes it."""
        self._listeners.append(listener)

    def change(self, name: str, value: object) -> None:
        """Change a live setting, now and for later starts; None takes an earlier change back.

        Raises:
            SettingError: if there is no such setting, it needs a restart, or the value does not do.
        """
        entry = field_named(fields(CartSettings), name)
        if not option_of(entry).live:
            raise SettingError(f"{name} can only be set when the cart starts.")
        with self._lock:
            changes = self._store.settings()
            changes.pop(name, None)
            if value is not None:
                changes[name] = str(parse_value(entry, value, name))
            changed = self._with_changes(changes)
            check(changed)
            self._store.put_setting(name, changes.get(name))
            self.current = changed
        for listener in self._listeners:
            listener()

    def describe(self) -> list[dict[str, object]]:
        """Return every setting with its value, its help, and whether it was changed here."""
        changes = self._store.settings()
        return [
            {
                "name": entry.name,
                "value": _shown_value(self.current, entry),
                "start_value": _shown_value(self._start, entry),
                "flag": flag_name(entry.name),
                "variable": variable_name("CART", entry.name),
                "changed": entry.name in changes,
                "live": declared.live,
                "help": declared.help,
                "type": entry.type,
                "choices": list(declared.choices),
                "minimum": declared.minimum,
                "maximum": declared.maximum,
            }
            for entry in fields(CartSettings)
            for declared in (option_of(entry),)
        ]

    def _with_changes(self, changes: dict[str, str]) -> CartSettings:
        known = {entry.name: entry for entry in fields(CartSettings)}
        # A change kept by another version of the program may name a setting that is gone.
        parsed = {name: parse_value(known[name], text, name) for name, text in changes.items() if name in known}
        return replace(self._start, **parsed)

    def _at_start(self, changes: dict[str, str]) -> CartSettings:
        """Return the start settings with the kept changes, or without them if together they no longer make sense."""
        try:
            changed = self._with_changes(changes)
            check(changed)
        except SettingError as error:
            log.warning(
                "the changes made on the admin page do not fit the start settings and are passed over: %s", error
            )
            return self._start
        return changed
