"""Scanning over HTTP: pictures, typed codes or frames of the cart's camera in, items or reasons out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, jsonify, request

from ..scanner.picture import TYPES
from ..scanner.service import ScannerService
from ..shop.item_codes import Reading
from .access.auth import open_to_all
from .access.request_guard import takes
from .request_parsing import RequestError, json_body, number
from .serving.lanes import Lane, answered_in

MAX_FRAMES: Final = 999_999_999


def scan(service: ScannerService) -> Blueprint:
    """Return the blueprint of ``/api/scan`` and ``/api/camera``."""
    blueprint = Blueprint("scan", __name__)

    @blueprint.post("/scan")
    @takes(*TYPES)
    @answered_in(Lane.PICTURES)
    @open_to_all
    def picture() -> Response:
        thorough = number("thorough", 1, 0, 1) == 1
        return jsonify(codes=_shown(service.read_picture(request.get_data(), thorough)))

    @blueprint.post("/scan/text")
    @open_to_all
    def text() -> Response:
        body = json_body()
        sent, by_position = body.get("text"), body.get("by_position")
        if not isinstance(sent, str):
            raise RequestError("text is missing: the code that was scanned or typed.")
        if not isinstance(by_position, str | None):
            raise RequestError("by_position is wrong: it is the text of the same keys on an American keyboard.")
        return jsonify(codes=_shown([service.read_text(sent, by_position)]))

    @blueprint.post("/camera/scan")
    @answered_in(Lane.PICTURES)
    @open_to_all
    def camera() -> Response:
        frame, readings = service.read_camera(number("after", 0, 0, MAX_FRAMES))
        return jsonify(frame=frame, codes=_shown(readings))

    @blueprint.get("/camera/frame")
    @answered_in(Lane.REPORTS)
    @open_to_all
    def frame() -> Response:
        return Response(service.preview(), mimetype="image/jpeg")

    return blueprint


def _shown(readings: list[Reading]) -> list[dict[str, object]]:
    return [asdict(reading) for reading in readings]
