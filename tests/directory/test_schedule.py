"""What is due when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parent_cart.directory.schedule import Schedule

names = st.sampled_from("abcdef")
steps = st.lists(
    st.tuples(st.just("put"), names, st.integers(0, 20))
    | st.tuples(st.just("drop"), names, st.just(0))
    | st.tuples(st.just("take"), st.just(""), st.integers(0, 20)),
    max_size=40,
)


@given(steps, st.integers(1, 4))
def test_each_name_is_taken_once_when_it_is_due(given_steps: list[tuple[str, str, int]], most: int) -> None:
    table, model = Schedule(), dict[str, int]()
    for step, name, at in given_steps:
        if step == "put":
            table.put(name, at)
            model[name] = at
        elif step == "drop":
            table.drop(name)
            model.pop(name, None)
        else:
            taken = table.take(at, most)
            due = sorted(when for when in model.values() if when <= at)[:most]
            assert [model.pop(each) for each in taken] == due
        assert len(table) == len(model)


def test_what_is_put_off_for_ever_takes_no_room() -> None:
    table = Schedule()
    for at in range(10_000):
        table.put("cart", float(at))
    assert len(table._heap) < 300
    assert table.take(10_000.0, 5) == ["cart"]
    assert table.take(10_000.0, 5) == []
