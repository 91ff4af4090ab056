"""The pages of a cart; they fill themselves from ``/api``."""

from __future__ import annotations

from flask import Blueprint, render_template


def pages() -> Blueprint:
    """Return the blueprint of the pages."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    def shop() -> str:
        return render_template("shop.html")

    @blueprint.get("/admin")
    def admin() -> str:
        return render_template("admin.html")

    return blueprint
