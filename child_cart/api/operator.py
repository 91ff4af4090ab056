"""The operator's JSON and downloads: rounds and log, and the model as a file."""

from __future__ import annotations

import json
from typing import Any, Final

from flask import Blueprint, Response, abort, jsonify, send_file

from ..db.records import Json
from ..learning.exports import ExportKind
from ..operation.desk import Desk, RequestError
from ..operation.log_buffer import LINES_KEPT
from .request_parsing import json_body, number

TYPES: Final = {
    ExportKind.HDF5: "application/x-hdf5",
    ExportKind.KERAS: "application/zip",
    ExportKind.TFLITE: "application/octet-stream",
}


def operator(desk: Desk) -> Blueprint:
    """Return the blueprint of what the admin page takes away."""
    blueprint = Blueprint("operator", __name__)

    @blueprint.get("/figures")
    def figures() -> Response:
        return jsonify(desk.operator.figures())

    @blueprint.get("/log")
    def log() -> Response:
        return jsonify(lines=desk.operator.log_lines(number("limit", 100, 1, LINES_KEPT)))

    @blueprint.get("/rounds.csv")
    def rounds_csv() -> Response:
        return _download(Response(desk.operator.rounds_csv(), mimetype="text/csv"), "rounds.csv")

    @blueprint.get("/rounds.json")
    def rounds_json() -> Response:
        text = json.dumps({"rounds": desk.operator.rounds_json()}, indent=1)
        return _download(Response(text, mimetype="application/json"), "rounds.json")

    @blueprint.post("/exports")
    def ask_export() -> tuple[Response, int]:
        desk.operator.ask_export(_kind_of(json_body()))
        return jsonify(asked=True), 202

    @blueprint.get("/exports/<any(h5, keras, tflite):kind>")
    def export(kind: str) -> Any:
        ready = desk.operator.export(ExportKind(kind))
        if ready is None:
            abort(404, f'There is no {kind} file yet; ask for it with POST /api/exports {{"kind": "{kind}"}}.')
        path, version = ready
        name = f"{desk.task_name}-version-{version}.{kind}"
        try:
            return send_file(path.absolute(), TYPES[ExportKind(kind)], as_attachment=True, download_name=name)
        except FileNotFoundError:
            abort(404, "The file has just been replaced by a newer one; ask for it again.")

    return blueprint


def _kind_of(body: Json) -> ExportKind:
    try:
        return ExportKind(body.get("kind", ""))
    except ValueError:
        raise RequestError(f"kind is to be one of {', '.join(ExportKind)}.") from None


def _download(answer: Response, name: str) -> Response:
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
