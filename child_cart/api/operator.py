"""What the operator reads and downloads: figures, log, rounds, and the model as a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from flask import Blueprint, Response, abort, jsonify, send_file

from cart_common.process.json_values import Json

from ..learning.exports import ExportKind
from ..operation.log_buffer import LINES_KEPT
from ..operation.operator_service import OperatorService
from .request_parsing import RequestError, json_body, number
from .serving.lanes import Lane, answered_in

TYPES: Final = {
    ExportKind.HDF5: "application/x-hdf5",
    ExportKind.KERAS: "application/zip",
    ExportKind.TFLITE: "application/octet-stream",
}


def operator(service: OperatorService) -> Blueprint:
    """Return the blueprint of figures, log and downloads."""
    blueprint = Blueprint("operator", __name__)

    @blueprint.get("/figures")
    @answered_in(Lane.REPORTS)
    def figures() -> Response:
        return jsonify(service.figures())

    @blueprint.get("/log")
    def log() -> Response:
        lines = service.log_lines(number("limit", 100, 1, LINES_KEPT))
        return jsonify(lines=[asdict(line) for line in lines])

    @blueprint.get("/rounds.csv")
    @answered_in(Lane.REPORTS)
    def rounds_csv() -> Response:
        return _download(Response(service.rounds_csv(), mimetype="text/csv"), "rounds.csv")

    @blueprint.get("/rounds.json")
    @answered_in(Lane.REPORTS)
    def rounds_json() -> Response:
        text = json.dumps({"rounds": [asdict(record) for record in service.rounds()]}, indent=1)
        return _download(Response(text, mimetype="application/json"), "rounds.json")

    @blueprint.post("/exports")
    def ask_export() -> tuple[Response, int]:
        service.request_export(_kind_of(json_body()))
        return jsonify(asked=True), 202

    @blueprint.get("/exports/<any(h5, keras, tflite):kind>")
    @answered_in(Lane.REPORTS)
    def export(kind: str) -> Any:
        ready = service.export(ExportKind(kind))
        if ready is None:
            abort(404, f'There is no {kind} file yet; ask for it with POST /api/exports {{"kind": "{kind}"}}.')
        path, name = ready
        try:
            # Not conditional: a part of a file would be gathered in memory, where the whole is sent piece by piece.
            return send_file(
                path.absolute(), TYPES[ExportKind(kind)], as_attachment=True, download_name=name, conditional=False
            )
        except FileNotFoundError:
            abort(404, "The file has just been replaced by a newer one; ask for it again.")

    return blueprint


def _kind_of(body: Json) -> ExportKind:
    try:
        return ExportKind(body.get("kind", ""))
    except ValueError:
        raise RequestError(f"kind must be one of {', '.join(ExportKind)}.") from None


def _download(answer: Response, name: str) -> Response:
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
