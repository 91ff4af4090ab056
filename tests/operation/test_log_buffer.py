"""The last lines of the log: few, short, and without credentials."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.redaction import shown_text
from child_cart.operation.log_buffer import LINES_KEPT, MAX_LINE_CHARS, LogBuffer


def line_of(message: object, *arguments: object, error: BaseException | None = None) -> str:
    ring = LogBuffer()
    info = (type(error), error, None) if error else None
    ring.emit(logging.LogRecord("cart", logging.INFO, "", 0, message, arguments, info))
    return ring.lines(1)[0].text


def test_the_oldest_lines_go() -> None:
    ring = LogBuffer()
    for number in range(LINES_KEPT + 5):
        ring.emit(logging.LogRecord("cart", logging.INFO, "", 0, "line %d", (number,), None))
    lines = ring.lines(LINES_KEPT * 2)
    assert len(lines) == LINES_KEPT
    assert [line.text for line in lines[:2]] == [f"line {LINES_KEPT + 4}", f"line {LINES_KEPT + 3}"]


@given(st.text())
def test_a_line_has_a_length(text: str) -> None:
    assert len(line_of(text)) <= MAX_LINE_CHARS


def test_credentials_of_urls_stay_out() -> None:
    said = line_of("camera %s is away", "rtsp://me:secret@10.0.0.5/live", error=OSError("http://a:b@c/ failed"))
    assert said == "camera rtsp://10.0.0.5/live is away (OSError: http://c/ failed)"
    assert shown_text("mail me@example.org, ws://host:9000/") == "mail me@example.org, ws://host:9000/"


def test_arguments_that_do_not_fit_cost_the_line_nothing() -> None:
    assert line_of("%d rows", "many") == "%d rows"
