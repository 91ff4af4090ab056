"""The cart's settings in one table: their names, defaults, help and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cart_common.process.addresses import check_networks
from cart_common.process.settings import SettingError, check_values, option
from cart_common.wire.records import is_bridge_url

from ..db.ownership import is_mongodb, is_store
from ..model.aggregation.registry import DEFAULT_AGGREGATOR, NAMES, check_aggregator
from ..model.partition import Partition
from ..network.bridge_selection import MOST_BRIDGES
from ..transfers.limits import ExchangeLimits

MIB: Final = 1024 * 1024
MAX_CURRENCY_CHARS: Final = 8
LEAST_TRAINER_BYTES: Final = 64 * MIB
STREAMS: Final = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")

# Each returns what a value must be, or None if it is right.


def _check_bridge(text: str) -> str | None:
    urls = _urls_in(text)
    if urls and all(map(is_bridge_url, urls)):
        return None
    return "like ws://127.0.0.1:9000, or several such with commas between them"


def _check_store(text: str) -> str | None:
    return None if is_store(text) else "embedded or like mongodb://HOST/DATABASE"


def _check_catalogue(text: str) -> str | None:
    return None if not text or is_mongodb(text) else "like mongodb://HOST/DATABASE"


def is_currency(text: str) -> bool:
    """Return whether this text can follow prices."""
    return len(text) <= MAX_CURRENCY_CHARS and text.isprintable() and text == text.strip()


def _check_currency(text: str) -> str | None:
    return None if is_currency(text) else f"a sign or a word as € or CHF, of at most {MAX_CURRENCY_CHARS} characters"


def _check_trainer_memory(size_bytes: int) -> str | None:
    if not 0 < size_bytes < LEAST_TRAINER_BYTES:
        return None
    return f"at least {LEAST_TRAINER_BYTES}, in which a process can start, or 0 for no limit"


def _check_camera(text: str) -> str | None:
    """Check only the form: a camera may come and go while the cart runs."""
    try:
        is_stream = urlsplit(text).scheme in STREAMS and bool(urlsplit(text).hostname)
    except ValueError:
        is_stream = False
    is_right = len(text) <= 3 if text.isdecimal() else "://" not in text or is_stream
    return None if is_right else f"a number as 0, a video file, or the URL of a stream ({', '.join(STREAMS)})"


@dataclass(frozen=True)
class CartSettings:
    """All settings of a cart; also ``CART_…`` in the environment. Those with ``live`` can be changed while it runs."""

    bridge: str = option(
        "ws://127.0.0.1:9000",
        "the bridge to attach to, as ws://host:port or wss://host:port, or several with commas between them: one of "
        "them, by chance. Others are learned from it",
        listed=True,
        check=_check_bridge,
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
    trusted_proxies: str = option(
        "",
        "addresses or networks of the proxies before the pages, separated by commas: what they tell in X-Forwarded-For "
        "is a client's address, which login limits count; without it that of the connection",
        listed=True,
        check=check_networks,
    )
    camera: str = option(
        "",
        "the cart's own camera: a number as 0, a video file, or a stream as rtsp://host/path",
        secret=True,
        check=_check_camera,
    )
    currency: str = option("", "what stands behind each price on pages and labels, as € or CHF", check=_check_currency)
    # Of one address: a cart sells to one shopper at a time, a till to one every half minute.
    checkouts_per_minute: float = option(
        6.0,
        "sales a minute that one address may make without a login or the token; 0 for no limit",
        minimum=0,
        maximum=100_000,
    )
    checkouts_at_once: int = option(
        20,
        "sales that one address may make at once, after a rest, without a login or the token",
        minimum=1,
        maximum=100_000,
    )
    sale_days_back: int = option(
        7, "how many days ago a sale may have been that comes without a login or the token", minimum=0, maximum=36_500
    )
    data_dir: str = option("data/cart", "folder for everything that this cart keeps")
    number: int = option(
        0,
        "which of several carts on one machine this is: 3 takes port 5003 and the folder data/cart-3 where no others "
        "are given; 0 for the only one",
        minimum=0,
        maximum=999,
    )
    store: str = option(
        "embedded",
        "where sales, rows and records are kept: embedded (a file in the data folder) or mongodb://HOST/DATABASE, a "
        "database of this cart's own",
        secret=True,
        check=_check_store,
    )
    store_timeout_s: float = option(
        5.0,
        "seconds that a request waits for the store, all in all: for a MongoDB server, or for the file",
        minimum=0.1,
        maximum=300,
    )
    catalogue: str = option(
        "",
        "database with a catalogue that carts share, as mongodb://HOST/DATABASE; each keeps a copy",
        secret=True,
        check=_check_catalogue,
    )
    catalogue_every_s: float = option(60.0, "seconds between looks at the shared catalogue", minimum=0.1, maximum=86400)
    task: str = option(
        "shopping", "what to learn: shopping, shopping-dense, digits, or your own as package.module:Class"
    )
    data: str = option("", "CSV file with rows of your own to start from, instead of the task's")
    share: str = option("1/1", "which part of the task's starter data is this cart's; 2/4 is the second of four")
    starter_rows: int = option(10_000, "most rows of the starter data to train on", minimum=0, maximum=10_000_000)

    sharing: str = option(
        "on", "whether the cart gives its model to peers and asks for theirs", choices=("on", "off"), live=True
    )
    dataset_size: int = option(
        100, "waiting rows that start a round", minimum=1, maximum=1_000_000, live=True, learning=True
    )
    max_round_rows: int = option(
        10_000, "most rows to train on in a round", minimum=1, maximum=1_000_000, live=True, learning=True
    )
    rehearsal: str = option(
        "rows",
        "what a training takes beside its new rows, so that a model does not forget: rows (of earlier rounds), or "
        "labels (the task's evaluation rows, with what the model says of them before the training)",
        choices=("rows", "labels"),
        live=True,
        learning=True,
    )
    rehearsal_rows: int = option(
        90,
        "most rows that a training takes beside its new rows; 0 for none",
        minimum=0,
        maximum=10_000,
        live=True,
        learning=True,
    )
    cluster_size: int = option(
        6, "peers to ask for their models in a round", minimum=1, maximum=256, live=True, learning=True
    )
    min_peers: int = option(1, "peers without which a round waits", minimum=1, maximum=256, live=True, learning=True)
    accept_backward: float = option(
        25.0,
        "how much worse than its own a cart lets a received model be, in points of accuracy or per cent of an error",
        minimum=0,
        maximum=100,
        live=True,
        learning=True,
    )
    accept_forward: float = option(
        75.0,
        "how much better than its own a cart lets a received model be, in points of accuracy or per cent of an error",
        minimum=0,
        maximum=100,
        live=True,
        learning=True,
    )
    aggregator: str = option(
        DEFAULT_AGGREGATOR,
        f"how received models are mixed with the cart's own: {NAMES}",
        formerly="weighting",
        live=True,
        learning=True,
        check=check_aggregator,
    )
    momentum: float = option(
        0.5,
        "part of what the last round has changed that is added to the next mix (SlowMo); 0 for none",
        minimum=0,
        maximum=0.95,
        live=True,
        learning=True,
    )
    cluster_wait_s: float = option(
        60.0,
        "seconds to look for peers before a round ends without them",
        minimum=0,
        maximum=86400,
        live=True,
        learning=True,
    )
    # Two at least: where the newest file is damaged, the one before takes its place.
    keep_versions: int = option(
        5, "weights files to keep, the newest ones; momentum keeps 3", minimum=2, maximum=10_000, live=True
    )
    keep_rounds: int = option(
        1000, "records of rounds to keep, with those of their versions", minimum=1, maximum=1_000_000, live=True
    )

    wire_precision: str = option(
        "int4",
        "how models are sent to carts that read it: full (32 bits a weight), half (16), int8 (8) or int4 (4)",
        choices=("full", "half", "int8", "int4"),
        learning=True,
    )
    tell_samples: str = option(
        "off",
        "whether peers are told on how many rows a model was trained, sealed, as the largest power of two in it; with "
        "the aggregator samples it counts at most as their own",
        choices=("on", "off"),
        live=True,
        learning=True,
    )
    least_transfer_version: int = option(
        1,
        "oldest version of requests and offers to speak with peers: 1, also with carts and through bridges of version "
        "0.1, or 2, so that no bridge can make carts speak version 1",
        minimum=1,
        maximum=2,
        live=True,
    )
    max_model_bytes: int = option(
        256 * MIB, "largest model to receive, in bytes", minimum=1024, maximum=1 << 40, live=True, learning=True
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
    give_again_s: float = option(
        15.0,
        "seconds after which a peer gets the same version a second time, and twice as long each further time, up to "
        "eight times as long; 0 for at once",
        minimum=0,
        maximum=86400,
        live=True,
    )
    give_bytes_per_peer: int = option(
        64 * MIB,
        "most bytes of models to give to one peer in ten minutes, but eight models at least; 0 for no limit",
        minimum=0,
        maximum=1 << 50,
        live=True,
    )
    give_bytes: int = option(
        2048 * MIB,
        "most bytes of models to give to all peers in ten minutes, but 64 models at least; 0 for no limit",
        minimum=0,
        maximum=1 << 50,
        live=True,
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
        check=_check_trainer_memory,
    )
    trainer_idle_s: float = option(
        60.0, "seconds after which a trainer process without work ends", minimum=0, maximum=86400
    )
    trainer_silence_s: float = option(
        600.0, "seconds without a word after which a trainer at work is ended", minimum=1, maximum=86400
    )
    log_level: str = option("INFO", "how much to log", choices=("DEBUG", "INFO", "WARNING", "ERROR"))


def check(settings: CartSettings) -> None:
    """Check each setting, and those that must fit each other.

    Raises:
        SettingError: for the first one that is wrong.
    """
    check_values(settings, "CART")
    urls = bridge_urls(settings)
    if len(urls) > MOST_BRIDGES:
        raise SettingError(f"--bridge (CART_BRIDGE) names {len(urls)} bridges; {MOST_BRIDGES} are the most.")
    try:
        Partition.parse(settings.share)
    except ValueError as error:
        raise SettingError(f"--share (CART_SHARE): {error}") from None
    for origin in origins_of(settings):
        if not _is_origin(origin):
            raise SettingError(
                f"--api-origins (CART_API_ORIGINS) names {origin!r}; an origin is like https://shop.example:8443, "
                "with nothing behind it."
            )
    if settings.min_peers > settings.cluster_size:
        raise SettingError(
            f"min_peers is {settings.min_peers}, but cluster_size is {settings.cluster_size}: "
            "a round could never have enough peers."
        )
    if settings.max_round_rows < settings.dataset_size:
        raise SettingError(
            f"max_round_rows is {settings.max_round_rows}, but dataset_size is {settings.dataset_size}: "
            "rows would come in faster than rounds could take them."
        )


def bridge_urls(settings: CartSettings) -> list[str]:
    """Return the addresses of the bridges in the settings, each once."""
    return _urls_in(settings.bridge)


def origins_of(settings: CartSettings) -> list[str]:
    """Return the origins whose pages may read what is open to all."""
    return [origin.strip() for origin in settings.api_origins.split(",") if origin.strip()]


def _urls_in(text: str) -> list[str]:
    urls = (url.strip().rstrip("/") for url in text.split(","))
    return list(dict.fromkeys(url for url in urls if url))


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        return False


def exchange_limits(settings: CartSettings) -> ExchangeLimits:
    """Return the limits of transfers in the settings."""
    return ExchangeLimits(
        max_model_bytes=settings.max_model_bytes,
        window_bytes=settings.window_bytes,
        answer_timeout_s=settings.answer_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        resume_timeout_s=settings.resume_timeout_s,
        slowest_bytes_per_s=settings.slowest_bytes_per_s,
        give_again_s=settings.give_again_s,
        give_bytes_per_peer=settings.give_bytes_per_peer,
        give_bytes=settings.give_bytes,
        least_version=settings.least_transfer_version,
    )
