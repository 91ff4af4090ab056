"""Rounds as CSV, one line each. No cell is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ..db.records import RoundRecord
from ..db.spreadsheet import escaped
from ..model.verdict import VerdictReason

PHASES: Final = ("training", "clustering", "collecting", "averaging")
COLUMNS: Final = (
    "round",
    "started_at_utc",
    "took_s",
    "outcome",
    "rows",
    "local_version",
    "metric",
    "unit",
    "direction",
    "local_value",
    "ruined_value",
    "new_version",
    "new_value",
    "cluster_id",
    "models_asked",
    "models_accepted",
    "models_dropped",
    "reasons_dropped",
    "received_bytes",
    *(f"{phase}_s" for phase in PHASES),
    "sentence",
)


def written(rounds: Sequence[RoundRecord]) -> str:
    """Return the rounds as CSV with a first line of column names."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(COLUMNS)
    lines.writerows(_line(record) for record in rounds)
    return text.getvalue()


def _line(record: RoundRecord) -> list[object]:
    reasons = Counter(verdict.reason for verdict in record.verdicts)
    accepted = reasons.pop(VerdictReason.ACCEPTED, 0)
    took_s = None if record.ended_at is None else round(record.ended_at - record.started_at, 3)
    return [
        record.number,
        datetime.fromtimestamp(record.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        took_s,
        record.outcome or "RUNNING",
        record.rows,
        record.local_version,
        *(escaped(str(record.metric[part])) for part in ("name", "unit", "direction")),
        record.local_value,
        record.ruined_value,
        record.new_version,
        record.new_value,
        escaped(record.cluster_id),
        len(record.verdicts),
        accepted,
        sum(reasons.values()),
        escaped(" ".join(f"{reason}:{count}" for reason, count in sorted(reasons.items()))),
        sum(verdict.payload_bytes or 0 for verdict in record.verdicts),
        *(record.phase_s.get(phase) for phase in PHASES),
        escaped(record.sentence),
    ]
