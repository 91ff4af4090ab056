"""Whose connection ends where there are too many: that of a crowd. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

Member = TypeVar("Member")


def to_displace(
    accounts: Iterable[Collection[Member]], idle_since: Callable[[Member], float | None], count: int = 1
) -> list[Member]:
    """Choose connections to end: each time the one that has been idle longest, of the account that has the most then.

    Of accounts that have as many, it is the one whose connection has been idle longest. An account none of whose
    connections is idle loses none.

    Args:
        accounts: the connections of each account.
        idle_since: tells since when a connection may be ended; None if it may not.
        count: how many to choose; fewer are returned where fewer are idle.
    """
    crowds = []
    for number, account in enumerate(accounts):
        idle = [(since, order, one) for order, one in enumerate(account) if (since := idle_since(one)) is not None]
        if idle:
            heapq.heapify(idle)  # order and number are unique: no two connections are compared
            crowds.append((-len(account), idle[0][0], number, idle))
    heapq.heapify(crowds)
    chosen: list[Member] = []
    while crowds and len(chosen) < count:
        size, _, number, idle = heapq.heappop(crowds)
        chosen.append(heapq.heappop(idle)[2])
        if idle:
            heapq.heappush(crowds, (size + 1, idle[0][0], number, idle))
    return chosen
