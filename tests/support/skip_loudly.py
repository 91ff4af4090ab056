"""Leave a test out and say so in red at the end of the run, also when worker processes run the tests."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

NOT_TESTED = "NOT TESTED: "


def skip_loudly(what: str, why_not: str, *, fails_on_ci: bool = True) -> NoReturn:
    """Skip the test; on CI, where everything has to be tested, fail it.

    Args:
        what: is not tested.
        why_not: the reason.
        fails_on_ci: whether CI provides what is missing.
    """
    sentence = f"{NOT_TESTED}{what}, because {why_not}"
    if fails_on_ci and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def report_loud_skips(terminal: pytest.TerminalReporter) -> None:
    """Print every reason once."""
    reasons = (report.longrepr[2] for report in terminal.stats.get("skipped", []) if isinstance(report.longrepr, tuple))
    sentences = {reason.removeprefix("Skipped: ") for reason in reasons}
    for sentence in sorted(sentence for sentence in sentences if sentence.startswith(NOT_TESTED)):
        terminal.write_line(sentence, red=True, bold=True)
