"""Fleets of real processes over several bridges: whichever bridge is killed or stopped, rounds go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.processes.fleet import Fleet
from support.processes.programs import HELD, givers, running, wait_for

BRIDGES, CARTS = 3, 12
ROWS = 20
# More peers than any bridge has carts: every cluster reaches over bridges.
PEERS = 5


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    enough = ("--cluster-size", str(PEERS), "--min-peers", str(PEERS), "--keep-versions", "2")
    made = Fleet(
        *(tmp_path_factory.mktemp("fleet"), BRIDGES, CARTS, ROWS, *enough),
        LIGHT_TASK_BALLAST_BYTES="1000000",
        LIGHT_TASK_PREDICT_S="0.05",
    )
    with running(*made.bridges):
        made.let_bridges_meet()
        with running(*made.carts):
            made.let_carts_know_all()
            yield made


def test_a_cluster_reaches_over_bridges(fleet: Fleet) -> None:
    wait_for(lambda: sum(bridge.carts() for bridge in fleet.bridges) == CARTS, what="each cart being attached once")
    kernel = fleet.carts[0]
    before = kernel.rounds_ended()  # more than none where this test is run again with the same fleet
    kernel.feed()
    wait_for(lambda: kernel.rounds_ended() > before, what="the round ending")
    record, *earlier = kernel.rounds()
    assert len(earlier) == before
    assert record["outcome"] in HELD, record
    assert len(set(givers(record))) == len(record["verdicts"]) == PEERS, record
    at_home = {cart.status()["cart_id"] for cart in fleet.carts if cart.attached_to() == kernel.attached_to()}
    assert {verdict["peer"] for verdict in record["verdicts"]} - at_home
    wait_for(lambda: sum(bridge.carts() for bridge in fleet.bridges) == CARTS, what="the visits being over")


def test_a_killed_bridge_costs_no_round_and_its_carts_are_soon_elsewhere(fleet: Fleet) -> None:
    dead, *others = fleet.bridges
    before = [cart.rounds_ended() for cart in fleet.carts]
    for cart in fleet.carts:
        cart.feed()
    wait_for(lambda: any(cart.status().get("stage") == "COLLECTING" for cart in fleet.carts), what="rounds running")
    dead.kill()
    alive = {bridge.url for bridge in others}
    for cart in fleet.carts:
        wait_for(lambda cart=cart: cart.attached_to() in alive, what="a cart being attached elsewhere")
    assert sum(bridge.carts() for bridge in others) >= CARTS
    for cart, ended in zip(fleet.carts, before, strict=True):
        wait_for(lambda cart=cart, ended=ended: cart.rounds_ended() > ended and cart.is_ready(), 120, "a round ending")
    assert set(fleet.outcomes()) <= set(HELD)
    dead.start()
    fleet.let_bridges_meet()


def test_all_bridges_are_restarted_one_by_one_and_no_round_fails(fleet: Fleet) -> None:
    for bridge in fleet.bridges:
        before = [cart.rounds_ended() for cart in fleet.carts]
        for cart in fleet.carts:
            cart.feed()
        wait_for(lambda: any(cart.status().get("stage") == "COLLECTING" for cart in fleet.carts), what="rounds running")
        assert bridge.stop(20) == 0
        for cart in fleet.carts:
            wait_for(
                lambda cart=cart, url=bridge.url: cart.attached_to() not in ("", url), what="a cart being elsewhere"
            )
        bridge.start()
        for cart, ended in zip(fleet.carts, before, strict=True):
            wait_for(lambda cart=cart, ended=ended: cart.rounds_ended() > ended and cart.is_ready(), 120, "a round")
        fleet.let_bridges_meet()
    outcomes = fleet.outcomes()
    assert set(outcomes) <= set(HELD)
    assert outcomes.total() >= (BRIDGES + 1) * CARTS
    for bridge in fleet.bridges:
        assert "Traceback" not in bridge.log
    for cart in fleet.carts:
        assert "Traceback" not in cart.log
