"""Settings over HTTP: read all, change those that can change while the cart runs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from ..config import SettingsBook
from .request_parsing import RequestError, json_body


def add_settings(blueprint: Blueprint, book: SettingsBook) -> None:
    """Add the addresses of the settings."""

    @blueprint.get("/settings")
    def settings() -> Response:
        return jsonify(settings=book.describe())

    @blueprint.put("/settings/<name>")
    def change_setting(name: str) -> Response:
        body = json_body()
        if "value" not in body:
            raise RequestError("value is missing: the new value, or null to take an earlier change back.")
        book.change(name, body["value"])
        return jsonify(settings=book.describe())
