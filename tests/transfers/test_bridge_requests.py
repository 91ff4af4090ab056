"""Asking for a cluster, without a bridge."""

from __future__ import annotations

import asyncio

import pytest

from cart_common.wire.messages import Code, ErrorMessage, Found, Message, PeerList
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.bridge_requests import BridgeRequests


class Sent(list[Message]):
    """A link that keeps what was sent."""

    def send(self, message: Message) -> None:
        self.append(message)


async def test_a_cancellation_that_comes_together_with_the_answer_is_not_lost() -> None:
    sent = Sent()
    requests = BridgeRequests("aa" * 16, sent)
    task = asyncio.create_task(requests.ask(8, 1, 5.0))
    await asyncio.sleep(0)
    requests.take_answer(PeerList(sent[0].request, "bb" * 16, ["cc" * 16]))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_answer_of_another_kind_is_a_failure_with_words() -> None:
    sent = Sent()
    requests = BridgeRequests("aa" * 16, sent)
    task = asyncio.create_task(requests.ask(8, 1, 5.0))
    await asyncio.sleep(0)
    requests.take_answer(Found(sent[0].request, "record"))
    with pytest.raises(TransferError, match="FOUND where PEERLIST was due"):
        await task


async def test_carts_of_another_shape_are_known_from_the_last_answer_about_peers() -> None:
    sent = Sent()
    requests = BridgeRequests("aa" * 16, sent)

    async def answered(code: Code | None, other_shapes: int) -> int:
        task = asyncio.create_task(requests.ask(8, 1, 5.0))
        await asyncio.sleep(0)
        request = sent[-1].request
        requests.take_answer(
            ErrorMessage(code, request=request, other_shapes=other_shapes)
            if code
            else PeerList(request, "bb" * 16, ("cc" * 16,), other_shapes=other_shapes)
        )
        await asyncio.gather(task, return_exceptions=True)
        return requests.other_shapes

    assert await answered(None, 2) == 2
    assert await answered(Code.TOO_MANY_TRANSFERS, 0) == 2  # it says nothing of other carts
    assert await answered(Code.NOT_ENOUGH_PEERS, 3) == 3
    assert await answered(None, 0) == 0
    await answered(None, 1)
    requests.lose_link()
    assert requests.other_shapes == 0


@pytest.mark.parametrize("kind", [PeerList, ErrorMessage])
async def test_a_cart_that_is_not_found_is_no_failure(kind: type[Message]) -> None:
    sent = Sent()
    requests = BridgeRequests("aa" * 16, sent)
    task = asyncio.create_task(requests.seek("bb" * 16, 5.0))
    await asyncio.sleep(0)
    request = sent[0].request
    requests.take_answer(
        PeerList(request, "cc" * 16, ()) if kind is PeerList else ErrorMessage(Code.NOT_FOUND, request=request)
    )
    assert await task is None


async def test_a_bridge_that_does_not_answer_is_named() -> None:
    with pytest.raises(TransferError, match="did not answer the request SEEK"):
        await BridgeRequests("aa" * 16, Sent()).seek("bb" * 16, 0.01)
