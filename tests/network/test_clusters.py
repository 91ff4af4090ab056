"""Asking for a cluster, without a bridge."""

from __future__ import annotations

import asyncio

import pytest

from child_cart.network.clusters import Clusters
from child_cart.network.messages import Message, PeerList


class Sent(list[Message]):
    """A link that keeps what was sent."""

    def send(self, message: Message) -> None:
        self.append(message)


async def test_a_cancellation_that_comes_together_with_the_answer_is_not_lost() -> None:
    sent = Sent()
    clusters = Clusters("aa" * 16, sent)
    task = asyncio.create_task(clusters.ask(8, 1, 5.0))
    await asyncio.sleep(0)
    clusters.take_answer(PeerList(sent[0].request, "bb" * 16, ["cc" * 16]))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
