"""What the pages may ask of a cart and tell it. Every method may be called from any thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from cart_common import __version__

from ..config import SettingsBook
from ..db.records import Item, Json, ModelVersion, Origin, RoundRecord, Sale
from ..db.store import Store
from ..learning.activity import Activity
from ..learning.rounds import Rounds
from ..learning.versions import Versions
from ..model.task import RowError, SoldLine, Task, checked_row
from ..network.bridge_selection import BridgeSelection
from ..network.link import Link
from ..scanner.service import ScannerService
from ..shop import billing as shop
from ..shop.catalogue_service import CatalogueService
from ..transfers.exchange import Exchange
from .operator_service import OperatorService
from .store_watch import StoreFigures, StoreWatch

MAX_BATCH_ROWS = 10_000
MAX_ID_CHARS = 64
SHOWN_CHARS = 80


@dataclass(frozen=True)
class EventCounts:
    """How often what has happened: rounds by outcome, models by verdict, failed transfers and codes by reason."""

    outcomes: Mapping[str, int]
    verdicts: Mapping[str, int]
    failed_transfers: Mapping[str, int]
    codes: Mapping[str, int]


class RequestError(ValueError):
    """A request that cannot be carried out; the message is a sentence for whoever sent it."""


class Desk:
    """The cart as its pages see it.

    Args:
        cart_id: in hexadecimal.
        catalogue: what the pages may ask of the catalogue and change in it.
        scanner: what they may ask of the scanner.
        operator: what needs a login.
        on_rows: is told that rows have come.
        ask_training: asks for a round now.
        ask_reset: forgets the model and starts again.
        trainer_process: gives the id of the trainer process, or None.
    """

    def __init__(
        self,
        cart_id: str,
        task: Task,
        book: SettingsBook,
        store: Store,
        versions: Versions,
        rounds: Rounds,
        exchange: Exchange,
        link: Link,
        bridges: BridgeSelection,
        activity: Activity,
        catalogue: CatalogueService,
        scanner: ScannerService,
        operator: OperatorService,
        on_rows: Callable[[], None],
        ask_training: Callable[[], None],
        ask_reset: Callable[[], None],
        trainer_process: Callable[[], int | None],
    ) -> None:
        self.cart_id = cart_id
        self.task_name = task.name
        self._task = task
        self._book = book
        self._store = store
        self._watch = StoreWatch(store)
        self._versions = versions
        self._rounds = rounds
        self._exchange = exchange
        self._link = link
        self._bridges = bridges
        self._activity = activity
        self.catalogue = catalogue
        self.scanner = scanner
        self.operator = operator
        self._on_rows = on_rows
        self.trainer_process = trainer_process
        self._started_at = time.time()
        self.ask_training = ask_training
        self.ask_reset = ask_reset

    # Watching.

    def summary(self) -> Json:
        """Return what anybody may know of the cart. Times in seconds since the epoch, accuracies 0 to 1."""
        return self._summary(self._watch.look())

    def _summary(self, kept: StoreFigures) -> Json:
        activity, version, settings = self._activity, self._versions.current, self._book.current
        record, epoch = self._rounds.log.record, activity.epoch
        return {
            "cart_id": self.cart_id,
            "program_version": __version__,
            "task": self._task.name,
            "started_at": self._started_at,
            "now": time.time(),
            "link": {"state": self._link.status.state},
            "role": self._rounds.sharing.role,
            "sharing": settings.sharing == "on",
            "stage": activity.stage,
            "stage_since": activity.since,
            "epoch": asdict(epoch) if epoch else None,
            "model": _model_summary(version) if version else None,
            "rows": {
                "waiting": kept.waiting,
                "dataset_size": settings.dataset_size,
                "total": kept.rows,
            },
            "round": {"number": record.number} if record else None,
            "rounds_ended": _ended(kept.rounds),
            "scanner": self.scanner.status(),
            "store": kept.state(),
        }

    def info(self) -> dict[str, str]:
        """Return what stays the same while the cart runs."""
        return {"version": __version__, "task": self._task.name, "cart_id": self.cart_id}

    def counts(self) -> EventCounts:
        """Return what has happened how often since the start."""
        failures = {str(code): count for code, count in self._exchange.failures.items()}
        rounds = self._rounds.log
        return EventCounts(rounds.outcomes, rounds.verdicts, failures, self.scanner.counters.counts())

    def status(self) -> Json:
        """Return all of what the cart is and does now, for its operator."""
        kept = self._watch.look()
        summary, now, link = self._summary(kept), time.time(), self._link.status
        version, record = self._versions.current, self._rounds.log.record
        return {
            **summary,
            "share": self._book.current.share,
            "link": asdict(link),
            "bridges": [asdict(bridge) for bridge in self._bridges.known()],
            "fleet": "closed" if self._book.current.fleet_key_file else "open",
            "role_since": self._rounds.sharing.role_since,
            "trainer_process": self.trainer_process(),
            "model": _model_facts(version) if version else None,
            "sales": kept.sales,
            "round": asdict(record) if record else None,
            "transfers": [asdict(view) for view in self._exchange.views()],
            "bytes_in": self._exchange.bytes_in,
            "bytes_out": self._exchange.bytes_out,
            "events": [asdict(event) for event in self._activity.events()],
            **self.operator.facts(link, summary["scanner"], kept, now),
        }

    def rounds(self, limit: int) -> list[Json]:
        """Return the newest rounds with their verdicts, newest first."""
        return [asdict(record) for record in self._store.rounds(limit)]

    def versions(self, limit: int) -> list[Json]:
        """Return the newest model versions, newest first."""
        return [_model_facts(version) for version in self._store.versions(limit)]

    def trending(self, month: int, gender: int) -> Json:
        """Return ``trending``: the categories that the current model expects to sell, the likeliest first.

        Without any, ``sentence`` tells the shopper why.
        """
        version = self._versions.current
        if version is None or version.origin is Origin.INITIAL:
            return {"trending": [], "sentence": "Nothing is known yet: this cart's model has not been trained."}
        for table in version.summary.get("trending", []):
            if (table["month"], table["gender"]) == (month, gender):
                shares = [
                    {"category": place + 1, "name": shop.CATEGORIES.get(place + 1, str(place + 1)), "share": share}
                    for place, share in enumerate(table["shares"])
                ]
                return {"trending": sorted(shares, key=lambda entry: -entry["share"]), "sentence": ""}
        return {"trending": [], "sentence": f"What this cart learns ({self._task.name}) does not tell what sells."}

    # Selling.

    def items(self) -> list[Item]:
        """Return the items that are sold."""
        return [item for item in self._store.items() if not item.retired]

    def quote(self, lines: object) -> shop.Bill:
        """Return the priced bill of lines, without selling anything; raises ``BillError``."""
        return shop.price(lines, shop.index(self.items()))

    def check_out(self, request: Json) -> tuple[Sale, bool]:
        """Sell a bill: keep the sale and the rows it makes. Returns the sale, and False if it was there already.

        Raises:
            RequestError, BillError: if the request makes no sale; nothing is kept then.
        """
        sale_id = _id_of(request, "sale_id")
        kept = self._store.sale(sale_id)
        if kept is not None:
            return kept, False  # a receipt shows what was sold, whatever the repeated request says
        gender = request.get("gender")
        if not isinstance(gender, int) or isinstance(gender, bool) or gender not in shop.SHOPPERS:
            raise RequestError(f"gender is {_shown(gender)}; it is to be 0 or 1.")
        day = shop.sale_day(request.get("sold_on"), date.today())
        bill = self.quote(request.get("lines"))
        sale = Sale(sale_id, time.time(), day.isoformat(), gender, bill.lines, bill.total_cents)
        sold = [SoldLine(day, line.category, gender, line.amount) for line in bill.lines]
        rows = [row for row in map(self._task.sale_row, sold) if row is not None]
        added = self._store.record_sale(sale, rows)
        if rows:
            self._on_rows()
        return sale if added else self._store.sale(sale_id) or sale, added

    def add_rows(self, request: Json) -> tuple[int, bool]:
        """Keep rows that come from no sale. Returns how many, and False if the batch was there already.

        Raises:
            RequestError: if one of them is no row of the task; nothing is kept then.
        """
        batch_id = _id_of(request, "batch_id")
        sent = request.get("rows")
        if not isinstance(sent, list) or not 1 <= len(sent) <= MAX_BATCH_ROWS:
            raise RequestError(f"rows is {_shown(sent)}; it is to be a list of 1 to {MAX_BATCH_ROWS} rows.")
        added = self._store.record_rows(batch_id, self._parsed(sent))
        self._on_rows()
        return len(sent), added

    def _parsed(self, sent: Sequence[object]) -> list[Json]:
        rows = []
        for place, fields in enumerate(sent, 1):
            if not isinstance(fields, dict):
                raise RequestError(f"Row {place} is not an object with fields.")
            try:
                rows.append(checked_row(self._task, fields))
            except RowError as error:
                raise RequestError(f"Row {place}: {error}.") from None
        return rows

    # Settings.

    def settings(self) -> list[dict[str, object]]:
        """Return every setting with its value and its help."""
        return self._book.describe()

    def change_setting(self, name: str, value: object) -> None:
        """Change a live setting; None takes a change back. Raises ``SettingError``."""
        self._book.change(name, value)


def _ended(newest: Sequence[RoundRecord]) -> int:
    """Return how many rounds have ended, from the newest one."""
    if not newest:
        return 0
    return newest[0].number if newest[0].outcome else newest[0].number - 1


def _model_summary(version: ModelVersion) -> dict[str, Any]:
    return {name: getattr(version, name) for name in ("number", "origin", "accuracy", "samples", "created_at")}


def _model_facts(version: ModelVersion) -> dict[str, Any]:
    facts = asdict(version)
    del facts["summary"]
    return facts


def _shown(value: object) -> str:
    """Return a value that somebody sent, for a sentence: short, whatever it is."""
    if value is None:
        return "missing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _id_of(request: Json, field: str) -> str:
    value = request.get(field)
    # Printable: half a surrogate pair is valid JSON, but no store takes it.
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_CHARS or not value.isprintable():
        raise RequestError(
            f"{field} is {_shown(value)}; it is to be a text of 1 to {MAX_ID_CHARS} printable characters, "
            "new for each one."
        )
    return value
