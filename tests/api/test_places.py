"""Places for connections, and the queue of the threads: who is served when somebody holds much."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from child_cart.api.serving.fair_queue import FairQueue
from child_cart.api.serving.places import Place, Places

NETWORKS = st.sampled_from("abcd")


def filled(places: Places, *waiting: tuple[str, float | None]) -> list[Place]:
    made = [Place(network, since) for network, since in waiting]
    for place in made:
        places.enter(place)
    return made


def test_a_network_with_all_of_its_places_gives_up_the_one_that_waits_longest() -> None:
    places = Places(10, 3)
    made = filled(places, ("a", 5.0), ("a", 2.0), ("a", None), ("b", 1.0))
    assert places.is_full_for("a")
    assert not places.is_full_for("b")
    assert places.to_give_up("a") is made[1]


def test_a_full_server_takes_from_the_network_that_has_the_most() -> None:
    places = Places(4, 10)
    made = filled(places, ("a", 5.0), ("a", 4.0), ("a", None), ("b", 1.0))
    assert places.is_full_for("c")
    assert places.to_give_up("c") is made[1]


def test_where_the_largest_network_is_all_being_answered_another_gives_up_its_place() -> None:
    places = Places(3, 10)
    made = filled(places, ("a", None), ("a", None), ("b", 1.0))
    assert places.to_give_up("c") is made[2]


def test_among_networks_of_the_same_size_the_connection_that_waits_longest_is_given_up() -> None:
    places = Places(3, 10)
    made = filled(places, ("a", 3.0), ("b", 1.0), ("c", 2.0))
    assert places.to_give_up("d") is made[1]


def test_nobody_gives_up_a_request_that_is_worked_on() -> None:
    places = Places(2, 2)
    filled(places, ("a", None), ("a", None))
    assert places.to_give_up("a") is None
    assert places.to_give_up("b") is None
    assert places.are_all_answered


def test_one_connection_that_waits_is_enough_to_go_on() -> None:
    places = Places(2, 2)
    made = filled(places, ("a", None), ("a", 1.0))
    assert not places.are_all_answered
    made[1].waiting_since = None
    assert places.are_all_answered
    places.leave(made[0])
    assert not places.are_all_answered


@given(
    st.lists(st.tuples(NETWORKS, st.one_of(st.none(), st.floats(0, 100)))),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_there_are_never_more_than_allowed_and_honest_networks_lose_nothing_before_the_crowd(
    arrivals: list[tuple[str, float | None]], most: int, most_of_one: int
) -> None:
    places, inside = Places(most, most_of_one), []
    for network, since in arrivals:
        if places.is_full_for(network):
            counts = {name: sum(place.network == name for place in inside) for name in "abcd"}
            given_up = places.to_give_up(network)
            if given_up is None:
                continue
            assert given_up.waiting_since is not None
            if counts[given_up.network] < max(counts.values()) and counts[network] < most_of_one:
                crowd = [name for name, count in counts.items() if count == max(counts.values())]
                # some network of the largest had no connection that waits
                assert any(
                    all(place.waiting_since is None for place in inside if place.network == name) for name in crowd
                )
            places.leave(given_up)
            places.leave(given_up)
            inside.remove(given_up)
        place = Place(network, since)
        places.enter(place)
        inside.append(place)
        assert len(places) == len(inside) <= most
        assert max(sum(place.network == name for place in inside) for name in "abcd") <= most_of_one


def test_clients_are_served_in_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for job in ("a1", "a2", "a3", "b1", "b2", "c1"):
        queue.put(job[0], job)
    queue.close()
    assert [queue.take() for _ in range(7)] == ["a1", "b1", "c1", "a2", "b2", "a3", None]


def test_a_dropped_job_is_never_taken() -> None:
    queue: FairQueue[str] = FairQueue()
    for job in ("a1", "a2", "b1"):
        queue.put(job[0], job)
    queue.drop("a", "a1")
    queue.drop("b", "b1")
    queue.drop("b", "b1")
    assert (queue.waiting("a"), queue.waiting("b")) == (1, 0)
    queue.close()
    assert [queue.take(), queue.take()] == ["a2", None]


def test_every_waiting_thread_ends_with_the_queue() -> None:
    queue: FairQueue[str] = FairQueue()
    taken: list[str | None] = []
    threads = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.put("a", "job")
    queue.close()
    for thread in threads:
        thread.join(10)
    assert sorted(map(str, taken)) == ["None", "None", "job"]
