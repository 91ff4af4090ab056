"""A request counts once, and only around the time at which it was made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parent_cart.directory.datagrams import MESSAGE_ID_BYTES, DatagramError, Fault
from parent_cart.directory.replay_window import MOST_SPANS, WINDOW_S, ReplayWindow, new_message_id

NOW_S = 1_800_000_000.0


def window_at(now_s: float, **most: int) -> ReplayWindow:
    """Return the window of a process that starts now; the monotonic clock is at 0 at ``NOW_S``."""
    return ReplayWindow(now_s, now_s - NOW_S, **most)


def taken(window: ReplayWindow, message_id: bytes, now_s: float, set_by_s: float = 0.0) -> Fault | None:
    """Take a request, where the clock was set by that much; return why it is refused."""
    try:
        window.check(message_id, now_s, now_s - set_by_s - NOW_S)
        window.remember(message_id, now_s)
    except DatagramError as error:
        return error.fault
    return None


def test_an_id_says_when_it_was_made_and_is_never_made_twice() -> None:
    made = [new_message_id(NOW_S) for _ in range(100)]
    assert len(set(made)) == 100
    assert {len(each) for each in made} == {MESSAGE_ID_BYTES}
    assert {int.from_bytes(each[:6]) for each in made} == {1_800_000_000_000}


def test_a_request_is_taken_once() -> None:
    window, message_id = window_at(NOW_S), new_message_id(NOW_S + 1)
    window.check(message_id, NOW_S + 1, 1)
    window.check(message_id, NOW_S + 1, 1)  # what was only looked at is not remembered
    assert taken(window, message_id, NOW_S + 1) is None
    for later_s in (1, 2, 60, WINDOW_S + 0.9):
        assert taken(window, message_id, NOW_S + later_s) is Fault.REPEATED
    assert taken(window, message_id, NOW_S + 2 + WINDOW_S) is Fault.STALE


@pytest.mark.parametrize(
    ("made_s", "fault"),
    [(-WINDOW_S - 0.1, Fault.STALE), (-WINDOW_S, None), (0, None), (WINDOW_S, None), (WINDOW_S + 0.1, Fault.STALE)],
)
def test_clocks_may_be_two_minutes_apart(made_s: float, fault: Fault | None) -> None:
    window = window_at(NOW_S - 1000)
    assert taken(window, new_message_id(NOW_S + made_s), NOW_S) is fault


def test_what_was_sent_to_an_earlier_process_is_stale() -> None:
    assert taken(window_at(NOW_S), new_message_id(NOW_S - 0.1), NOW_S) is Fault.STALE
    assert taken(window_at(NOW_S + 0.0007), new_message_id(NOW_S + 0.0008), NOW_S) is None  # in one millisecond


def test_a_clock_that_is_set_back_makes_nothing_fresh_again() -> None:
    window, message_id = window_at(NOW_S), new_message_id(NOW_S + 1)
    assert taken(window, message_id, NOW_S + 1) is None
    assert taken(window, new_message_id(NOW_S + 300), NOW_S + 300) is None  # the first one is forgotten now
    assert taken(window, message_id, NOW_S + 2, -300) is Fault.STALE
    assert taken(window, new_message_id(NOW_S + 2), NOW_S + 2, -300) is Fault.STALE  # nor can others be told from it
    for later_s in (301, 400):  # until the clock has come to where nothing was taken yet
        assert taken(window, new_message_id(NOW_S + later_s), NOW_S + later_s, -300) is None


def test_small_steps_back_make_nothing_fresh_again() -> None:
    window, message_id = window_at(NOW_S), new_message_id(NOW_S + 1)
    assert taken(window, message_id, NOW_S + 1) is None
    assert taken(window, new_message_id(NOW_S + 125), NOW_S + 125) is None  # the first one is forgotten now
    assert taken(window, message_id, NOW_S + 119, -9) is Fault.STALE
    assert taken(window, new_message_id(NOW_S + 119), NOW_S + 119, -9) is None
    assert taken(window, message_id, NOW_S + 111, -18) is Fault.STALE


@pytest.mark.parametrize("ahead_s", [86_400, 3600, -3600])
def test_a_bridge_that_starts_with_a_wrong_clock_answers_as_soon_as_it_is_set(ahead_s: int) -> None:
    wrong_s = NOW_S + ahead_s
    window = ReplayWindow(wrong_s, 0.0)
    for up_s in range(0, 600, 50):  # bridges with the same wrong clock ask it
        overheard = new_message_id(wrong_s + up_s)
        assert taken(window, overheard, wrong_s + up_s, ahead_s) is None
    assert taken(window, new_message_id(NOW_S + 600), NOW_S + 600) is None
    assert taken(window, overheard, wrong_s + 600, ahead_s) is Fault.STALE, "set to the wrong time again"
    assert taken(window, new_message_id(NOW_S + 601), NOW_S + 601) is None


@pytest.mark.parametrize("ahead_s", [86_400, -86_400])
def test_what_was_made_before_the_start_is_stale_whatever_the_clock_was_then(ahead_s: int) -> None:
    window = ReplayWindow(NOW_S + ahead_s, 0.0)
    assert taken(window, new_message_id(NOW_S - 1), NOW_S + 50) is Fault.STALE
    assert taken(window, new_message_id(NOW_S + 1), NOW_S + 50) is None


def test_a_clock_that_was_wrong_for_a_while_hinders_nothing_later() -> None:
    window = window_at(NOW_S)
    for up_s, set_by_s in ((0, 0), (1000, 0), (1010, 86_400), (2000, 86_400), (2010, 0), (3000, 86_400), (4000, 0)):
        now_s = NOW_S + up_s + set_by_s
        assert taken(window, new_message_id(now_s), now_s, set_by_s) is None


def test_a_clock_that_is_set_again_and_again_fills_no_memory() -> None:
    window = window_at(NOW_S)
    ids = []
    for number in range(3 * MOST_SPANS):
        now_s = NOW_S + 1000 * number
        ids.append(new_message_id(now_s))
        assert taken(window, ids[-1], now_s, 999 * number) is None
    assert len(window._earlier) == MOST_SPANS
    assert [taken(window, each, NOW_S + 1000 * number, -7) for number, each in enumerate(ids)] == [Fault.STALE] * len(
        ids
    )


def test_without_room_requests_are_refused_and_no_id_is_forgotten() -> None:
    window = window_at(NOW_S, most=3)
    ids = [new_message_id(NOW_S + number) for number in range(4)]
    assert [taken(window, each, NOW_S) for each in ids] == [None, None, None, Fault.TOO_MANY]
    assert [taken(window, each, NOW_S) for each in ids[:3]] == [Fault.REPEATED] * 3
    assert taken(window, ids[3], NOW_S + WINDOW_S + 1.5) is None  # the first one is too old by now
    assert len(window) == 3


@given(
    st.lists(
        st.tuples(st.binary(min_size=14, max_size=14), st.floats(-300, 300), st.floats(0, 60), st.floats(-300, 300)),
        min_size=1,
        max_size=80,
    ),
    st.data(),
)
def test_nothing_is_taken_twice_and_memory_ends(
    sent: list[tuple[bytes, float, float, float]], data: st.DataObject
) -> None:
    window, now_s, set_by_s, newest_s = window_at(NOW_S - 1000), NOW_S, 0.0, NOW_S
    seen: list[bytes] = []
    done: set[bytes] = set()
    for random_part, ahead_s, pause_s, step_s in sent:
        set_s = step_s if data.draw(st.booleans()) else 0.0
        now_s += pause_s + set_s
        set_by_s += set_s
        newest_s = max(newest_s, now_s)
        fresh = int((now_s + ahead_s) * 1000).to_bytes(6) + random_part
        seen.append(fresh)
        for message_id in (fresh, data.draw(st.sampled_from(seen))):
            if taken(window, message_id, now_s, set_by_s) is None:
                assert message_id not in done
                done.add(message_id)
    assert taken(window, new_message_id(newest_s + 1000), newest_s + 1000, set_by_s) is None
    assert len(window) == 1
