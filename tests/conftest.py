"""Fixtures that several test folders share."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec

import aiohttp
import hypothesis
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from support.bridges.in_process import Bridge, running_bridge
from support.skip_loudly import report_loud_skips, skip_loudly

hypothesis.settings.register_profile("quick", deadline=None, max_examples=60)
hypothesis.settings.load_profile("quick")


# The files that take longest, in the order in which they start: so all worker processes end at about the same time.
LONGEST_FIRST = (
    *("test_benchmarks.py", "test_namespaces.py", "test_fleets.py", "test_cuts.py", "test_kills.py", "test_demo.py"),
    *("test_crashes.py", "test_store_troubles.py", "test_cart_main.py", "test_commands.py", "test_running.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out loudly what needs a program that is not installed."""
    for mark in item.iter_markers("needs"):
        (name,) = mark.args
        program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None and find_spec(name) is None:
            skip_loudly(name, "it is not installed here", fails_on_ci=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was left out loudly."""
    report_loud_skips(terminalreporter)


@pytest.fixture
def no_blocking() -> Iterator[BlockBuster]:
    """Whatever blocks the event loop in our code fails the test."""
    with blockbuster_ctx(["cart_common", "child_cart.network", "child_cart.transfers", "parent_cart"]) as buster:
        # A file is made or removed per model, on a local disk: shorter than the way to another thread and back. The
        # folder is looked through once, before the loop has anything else to do.
        for call in ("os.mkdir", "os.listdir", "os.scandir", "os.stat", "os.unlink"):
            buster.functions[call].can_block_in("child_cart/transfers/spool.py", {"room_for", "__init__"})
        yield buster


@pytest.fixture
async def bridge(no_blocking: BlockBuster) -> AsyncIterator[Bridge]:
    """A real bridge on a free port of the loopback."""
    async with running_bridge() as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP and WebSocket client."""
    async with aiohttp.ClientSession() as session:
        yield session
