"""Who draws keeps its place; who does not gives it to the next, however many keys it has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.messages import Code
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.limits import ExchangeLimits
from child_cart.transfers.outgoing_places import KEPT_SHARE, OutgoingPlace, choose_place

LIMITS = ExchangeLimits(1000, 1000, 1.0, 45.0, 90.0, 20_000.0, max_outgoing=8)


def place(number: int, account: str = "", sent_bytes: int = 100_000, waited_s: float = 0.01) -> OutgoingPlace:
    return OutgoingPlace(f"transfer {number}", account or f"account {number}", sent_bytes, waited_s)


def refused(account: str, places: list[OutgoingPlace], lately: bool = False) -> str:
    with pytest.raises(TransferError) as caught:
        choose_place(account, places, lately, LIMITS)
    assert caught.value.code is Code.TOO_MANY_TRANSFERS
    return caught.value.sentence


def test_places_are_free_until_all_draw() -> None:
    for taken in range(8):
        assert choose_place("new", [place(each) for each in range(taken)], False, LIMITS) is None
    assert refused("new", [place(each) for each in range(8)]).startswith("This cart is sending 8 models already, 0 of")


def test_the_last_places_are_for_who_has_none_and_got_nothing_lately() -> None:
    places = [place(each) for each in range(6)]
    assert choose_place("new", places, False, LIMITS) is None
    assert "0 of them to the asking one" in refused("served", places, lately=True)
    assert "1 of them to the asking one" in refused("account 3", places)


def test_who_waits_longest_beyond_the_slowest_rate_gives_its_place() -> None:
    slow = place(6, sent_bytes=200_000, waited_s=12.9)  # 10 s for its bytes, 3 s of grace
    assert refused("served", [*map(place, range(7)), slow], lately=True)
    late, later = place(6, waited_s=8.1), place(7, waited_s=9.0)
    assert choose_place("new", [*map(place, range(6)), late, later], False, LIMITS) is later
    assert choose_place("served", [*map(place, range(6)), late, later], True, LIMITS) is later


def test_a_flood_that_draws_next_to_nothing_takes_places_from_itself() -> None:
    undrawn = [place(each, sent_bytes=0, waited_s=0.1 * each) for each in range(1, 8)]
    assert choose_place("new", [place(0), *undrawn], False, LIMITS) is undrawn[-1]
    assert refused("served", [place(0), *undrawn], lately=True)
    drips = [place(each, sent_bytes=1024, waited_s=0.06) for each in range(1, 8)]
    assert choose_place("new", [place(0), *drips], False, LIMITS) is drips[0]


def test_a_flood_takes_no_place_from_a_peer_that_has_drawn_a_model_before() -> None:
    proved = replace(place(0, sent_bytes=0, waited_s=2.9), is_proved=True)
    flood = [place(each, sent_bytes=0, waited_s=0.01) for each in range(1, 8)]
    assert choose_place("new", [proved, *flood], False, LIMITS) is flood[0]
    late = replace(proved, waited_s=3.1)
    assert choose_place("new", [late, *flood], False, LIMITS) is late


def test_one_account_replaces_only_what_it_has_left_itself() -> None:
    own = [place(1, "same"), place(2, "same")]
    others = [place(3, sent_bytes=0, waited_s=60.0)]
    assert "2 of them to the asking one" in refused("same", own + others)
    stale = place(2, "same", sent_bytes=0, waited_s=4.0)
    assert choose_place("same", [own[0], stale, *others], False, LIMITS) is stale


a_place = st.builds(
    OutgoingPlace,
    st.uuids().map(str),
    st.sampled_from([f"account {number}" for number in range(12)]),
    st.integers(0, 10**7),
    st.floats(0, 200),
)


@given(st.lists(st.tuples(a_place, st.booleans()), max_size=60))
def test_places_never_exceed_their_number_nor_is_a_drawing_receiver_put_out(
    asked: list[tuple[OutgoingPlace, bool]],
) -> None:
    held: list[OutgoingPlace] = []
    for new, lately in asked:
        try:
            given_up = choose_place(new.account, held, lately, LIMITS)
        except TransferError:
            continue
        if given_up is not None:
            assert given_up.overdue_s(LIMITS) >= 0
            held.remove(given_up)
        elif lately:
            assert len(held) < LIMITS.max_outgoing - LIMITS.max_outgoing // KEPT_SHARE
        held.append(new)
        assert len(held) <= LIMITS.max_outgoing
        assert sum(each.account == new.account for each in held) <= LIMITS.max_outgoing_per_peer
