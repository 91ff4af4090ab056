"""The services behind the pages, one for each kind of request, and how they are built from the parts of a cart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import SettingsBook
from ..db.store import Store
from ..model.task import Task
from ..operation.disk import Disk
from ..operation.log_buffer import LogBuffer
from ..operation.operator_service import CartRequests, OperatorService
from ..operation.row_service import RowService
from ..operation.status import CartInfo
from ..operation.status_service import LearningSources, NetworkSources, StatusService
from ..scanner.service import ScannerService
from ..shop.catalogue_service import CatalogueService
from ..shop.checkout_limit import CheckoutLimit
from ..shop.checkout_service import CheckoutService
from ..shop.trending import TrendingService


@dataclass(frozen=True)
class Services:
    """Everything that ``create_app`` hands to blueprints; each gets only what it serves."""

    status: StatusService
    operator: OperatorService
    settings: SettingsBook
    rows: RowService
    checkout: CheckoutService
    trending: TrendingService
    catalogue: CatalogueService
    scanner: ScannerService


def build_services(
    info: CartInfo,
    task: Task,
    folder: Path,
    book: SettingsBook,
    store: Store,
    scanner: ScannerService,
    log: LogBuffer,
    learning: LearningSources,
    network: NetworkSources,
    requests: CartRequests,
) -> Services:
    """Return the services of a cart.

    Args:
        info: what stays the same while the cart runs.
        task: checks rows, and makes them from sales.
        folder: the data folder.
        book: the settings.
        store: the cart's own.
        scanner: reads codes.
        log: the last lines of the log.
        learning: the parts that learn.
        network: the parts that exchange models.
        requests: what the pages ask of the running cart.
    """
    settings = book.current
    return Services(
        status=StatusService(info, book, store, Disk(folder), scanner, learning, network),
        operator=OperatorService(task.name, store, log, learning.exports, requests),
        settings=book,
        rows=RowService(store, task, requests.rows_added),
        checkout=CheckoutService(
            store,
            task,
            requests.rows_added,
            CheckoutLimit(settings.checkouts_per_minute, settings.checkouts_at_once),
            settings.sale_days_back,
        ),
        trending=TrendingService(task.name, lambda: learning.versions.current),
        catalogue=CatalogueService(store, shared=bool(settings.catalogue), currency=settings.currency),
        scanner=scanner,
    )
