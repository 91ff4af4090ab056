"""The pages of a cart; they fill themselves from ``/api``."""

from __future__ import annotations

from flask import Blueprint, render_template

from ..desk import Desk


def pages(desk: Desk) -> Blueprint:
    """Return the blueprint of the pages."""
    blueprint = Blueprint("pages", __name__, template_folder="../templates", static_folder="../static")

    @blueprint.get("/")
    def shop() -> str:
        return render_template("shop.html")

    @blueprint.get("/admin")
    def admin() -> str:
        return render_template("admin.html")

    return blueprint
