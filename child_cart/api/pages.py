"""The pages of a cart. They load their data from ``/api``, except receipts and labels, which are ready to print."""

from __future__ import annotations

import time
from typing import Final

from flask import Blueprint, abort, render_template, request

from ..db.records import is_id
from ..shop import labels
from ..shop.billing import CATEGORIES
from ..shop.catalogue import written_price
from ..shop.catalogue_service import CatalogueService
from ..shop.checkout_service import CheckoutService
from .access.auth import open_to_all
from .request_parsing import number
from .serving.lanes import Lane, answered_in

MAX_LABELS: Final = 300
MAX_COPIES: Final = 50
MAX_RECEIPTS: Final = 200


def pages(service: CatalogueService, checkout: CheckoutService) -> Blueprint:
    """Return the blueprint of the pages."""
    blueprint = Blueprint("pages", __name__)

    def priced(cents: int) -> str:
        return written_price(cents, service.currency)

    @blueprint.get("/")
    @open_to_all
    def shop_page() -> str:
        return render_template("shop.html")

    @blueprint.get("/receipt")
    @open_to_all
    def receipt() -> str:
        """Whoever knows the id of a sale may see it: the shop page makes ids that cannot be guessed."""
        sale_id = request.args.get("sale", "")
        sale = checkout.sale(sale_id) if is_id(sale_id) else None
        if sale is None:
            abort(404, "There is no receipt with this number.")
        return render_template(
            "receipt.html",
            sale=sale,
            sold_at=written_time(sale.sold_at),
            pieces=sum(line.amount for line in sale.lines),
            priced=priced,
        )

    @blueprint.get("/admin/receipts")
    def receipts() -> str:
        sales = checkout.newest_sales(MAX_RECEIPTS)
        return render_template("receipts.html", sales=sales, written_time=written_time, priced=priced)

    @blueprint.get("/admin")
    def admin() -> str:
        return render_template("admin.html")

    @blueprint.get("/admin/catalogue")
    def catalogue() -> str:
        return render_template("catalogue.html", read_only=service.read_only)

    @blueprint.get("/admin/labels")
    @answered_in(Lane.REPORTS)
    def label_sheet() -> str:
        codes, copies = request.args.getlist("code"), number("copies", 1, 1, MAX_COPIES)
        category = number("category", 0, 0, max(CATEGORIES)) or None
        wanted = [item for item in service.chosen(codes, category) for _ in range(copies)]
        shown = [
            {
                "item": item,
                "price": price,
                "price_attributes": labels.price_attributes(price),
                "side": side,
                "path": path,
            }
            for item in wanted[:MAX_LABELS]
            for (side, path), price in ((labels.qr_path(item.code), priced(item.price_cents)),)
        ]
        return render_template(
            "labels.html",
            labels=shown,
            price_box=f"0 0 {labels.PRICE_WIDTH} {labels.PRICE_SIZE}",
            price_line=labels.PRICE_SIZE * 0.8,
            left_out=max(0, len(wanted) - MAX_LABELS),
            codes=codes,
            category=category,
            categories=CATEGORIES,
            copies=copies,
            max_copies=MAX_COPIES,
        )

    return blueprint


def written_time(at: float) -> str:
    """Return a time, in seconds since the epoch, as a date and a time of day of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
