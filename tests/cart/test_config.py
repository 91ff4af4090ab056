"""Settings that were changed while the cart runs: validated, kept, taken back."""

from pathlib import Path

import pytest

from cart_common.process.settings import SettingError
from child_cart.config import CartSettings, SettingsBook, check
from child_cart.db.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path):
    made = SqliteStore(tmp_path / "cart.db")
    yield made
    made.close()


def test_a_change_holds_is_kept_and_can_be_taken_back(store) -> None:
    book = SettingsBook(CartSettings(dataset_size=50), store)
    told = []
    book.on_change(lambda: told.append(book.current.dataset_size))
    book.change("dataset_size", "30")
    book.change("accept_backward", 12.5)
    assert (book.current.dataset_size, book.current.accept_backward) == (30, 12.5)
    again = SettingsBook(CartSettings(dataset_size=70), store)
    assert (again.current.dataset_size, again.current.accept_backward) == (30, 12.5)
    again.change("dataset_size", None)
    assert again.current.dataset_size == 70
    assert told == [30, 30]
    described = {entry["name"]: entry for entry in again.describe()}
    assert described["accept_backward"]["changed"]
    assert not described["dataset_size"]["changed"]
    assert described["sharing"]["choices"] == ["on", "off"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("dataset_size", "0", "dataset_size is '0'; it must be a whole number from 1"),
        ("dataset_size", True, "dataset_size is True"),
        ("dataset_size", [1], "dataset_size is"),
        ("aggregator", "luck", "must be one of"),
        ("aggregator", 5, "must be a text"),
        ("accept_forward", "inf", "must be a number from 0 to 100"),
        ("port", "80", "can only be set when the cart starts"),
        ("nothing", "1", "no setting named 'nothing'"),
        ("min_peers", 7, "could never have enough peers"),
        ("cluster_size", "0", "cluster_size is '0'"),
    ],
)
def test_what_does_not_do_changes_nothing(store, name, value, sentence) -> None:
    book = SettingsBook(CartSettings(), store)
    with pytest.raises(SettingError, match=sentence):
        book.change(name, value)
    assert book.current == CartSettings()
    assert store.settings() == {}


def test_a_kept_change_of_another_program_version_is_passed_over(store) -> None:
    store.put_setting("gone", "1")
    assert SettingsBook(CartSettings(), store).current == CartSettings()


def test_a_kept_change_counts_under_the_name_that_its_setting_had_before(store) -> None:
    store.put_setting("weighting", "samples")
    assert SettingsBook(CartSettings(), store).current.aggregator == "samples"
    SettingsBook(CartSettings(), store).change("aggregator", "median")
    assert SettingsBook(CartSettings(), store).current.aggregator == "median"


def test_kept_changes_that_do_not_fit_a_new_start_are_passed_over(store, caplog) -> None:
    SettingsBook(CartSettings(), store).change("cluster_size", 1)
    again = SettingsBook(CartSettings(cluster_size=5, min_peers=3), store)
    assert (again.current.cluster_size, again.current.min_peers) == (5, 3)
    assert "do not fit the start settings" in caplog.text


def test_passwords_in_addresses_are_not_shown(store) -> None:
    settings = CartSettings(
        store="mongodb://me:s3cret@host:1/cart?authSource=admin",
        catalogue="mongodb://me:s3cret@h/shop",
        camera="rtsp://me:s3cret@lens/one",
    )
    described = {entry["name"]: entry for entry in SettingsBook(settings, store).describe()}
    assert "s3cret" not in str(described)
    assert described["store"]["value"] == described["store"]["start_value"] == "mongodb://host:1/cart"
    assert described["camera"]["value"] == "rtsp://lens/one"
    check(settings)


def test_what_cannot_stand_behind_a_price_is_named() -> None:
    with pytest.raises(SettingError, match=r"--currency \(CART_CURRENCY\) is 'pieces of eight'; it must be"):
        check(CartSettings(currency="pieces of eight"))
