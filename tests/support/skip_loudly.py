"""Saying in red, beside the dots, that something is not tested here."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest


def skip_loudly(config: pytest.Config, what: str, why_not: str, *, fails_on_ci: bool = True) -> None:
    """Skip the test and say so in red; on CI, where all is to be tested, fail it."""
    if fails_on_ci and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"NOT TESTED: {what}: {why_not}")
    capture, terminal = (config.pluginmanager.get_plugin(name) for name in ("capturemanager", "terminalreporter"))
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        if terminal:
            terminal.write_line(f"\nNOT TESTED: {what}, because {why_not}", red=True, bold=True)
    pytest.skip(why_not)
