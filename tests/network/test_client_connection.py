"""What a connection that is given up in its opening handshake leaves behind: nothing."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from child_cart.network import opening_handshake as connecting
from child_cart.network.client_connection import ClientConnection
from child_cart.network.opening_handshake import connect


async def test_a_connect_that_is_cancelled_while_it_opens_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    made, lost = connecting._Opening.connection_made, connecting._Opening.connection_lost
    gone = asyncio.Event()

    def cancel(opening: connecting._Opening, transport: asyncio.BaseTransport) -> None:
        made(opening, transport)
        task.cancel()

    def note(opening: connecting._Opening, reason: Exception | None) -> None:
        lost(opening, reason)
        gone.set()

    monkeypatch.setattr(connecting._Opening, "connection_made", cancel)
    monkeypatch.setattr(connecting._Opening, "connection_lost", note)
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        task = asyncio.create_task(connect(url, None, ClientConnection(1024, 0)))
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
        await asyncio.sleep(0)  # for what was called soon
        gc.collect()
    assert faults == []
