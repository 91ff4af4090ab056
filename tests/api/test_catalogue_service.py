"""The catalogue and its labels over HTTP."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace

import pytest
from PIL import Image  # noqa: F401 - loaded before threads ask for it
from support.carts.shown import CROISSANT, RYE_BREAD, Shown

from child_cart.db.records import Item
from child_cart.shop.billing import CATALOGUE
from child_cart.shop.catalogue_service import CatalogueService

HONEY = {"code": "honey-1", "name": "<img src=x onerror=alert(1)>", "category": 5, "price_cents": 420}
KEPT = Item("HONEY-1", "<img src=x onerror=alert(1)>", 5, 420)


def item_named(shown: Shown, code: str) -> Item | None:
    return next((item for item in shown.store.items() if item.code == code), None)


def send_csv(shown: Shown, data: bytes | str, kind: str = "text/csv", **headers: str):
    return shown.client.post("/api/catalogue.csv", data=data, content_type=kind, headers=headers)


def test_an_item_is_added_changed_retired_and_sold_again(shown: Shown) -> None:
    assert shown.post("/api/catalogue", HONEY, 201)["item"] == asdict(KEPT)
    assert shown.put("/api/catalogue/HONEY-1", {"price_cents": 500})["item"]["price_cents"] == 500
    assert shown.put("/api/catalogue/HONEY-1", {"retired": True})["item"]["retired"]
    assert item_named(shown, "HONEY-1") == replace(KEPT, price_cents=500, retired=True)
    assert "HONEY-1" not in {item["code"] for item in shown.get("/api/items")["items"]}
    assert "HONEY-1" in {item["code"] for item in shown.get("/api/catalogue")["items"]}
    shown.put("/api/catalogue/HONEY-1", {"retired": False, "name": "Honey", "code": "OTHER"})
    assert item_named(shown, "HONEY-1") == replace(KEPT, price_cents=500, name="Honey")
    assert item_named(shown, "OTHER") is None


def test_a_code_is_given_once(shown: Shown) -> None:
    sentence = shown.sentence("/api/catalogue", {**HONEY, "code": RYE_BREAD.code})
    assert sentence == f"The code {RYE_BREAD.code} belongs to Rye bread."
    shown.store.change_items([replace(RYE_BREAD, retired=True)])
    assert "It is retired: take it back instead." in shown.sentence("/api/catalogue", {**HONEY, "code": RYE_BREAD.code})


OLD = Item("05012345678900", "Pencil", 6, 120)
REFUSED_NOW = Item("15012345678908", "Case of pencils", 6, 900)


def test_an_item_of_an_earlier_version_is_scanned_changed_and_exported_under_its_code(shown: Shown) -> None:
    shown.store.change_items([OLD, REFUSED_NOW])
    for text in (OLD.code, "5012345678900", "]E05012345678900", REFUSED_NOW.code):
        assert shown.post("/api/scan/text", {"text": text})["codes"][0]["item"]["code"] in (OLD.code, REFUSED_NOW.code)
    assert shown.sentence("/api/catalogue", {**HONEY, "code": "5012345678900"}) == (
        "The code 05012345678900 belongs to Pencil."
    )
    assert shown.put("/api/catalogue/5012345678900", {"price_cents": 130})["item"]["code"] == OLD.code
    assert shown.put(f"/api/catalogue/{REFUSED_NOW.code}", {"retired": True})["item"]["retired"]
    export = shown.client.get("/api/catalogue.csv").data
    assert send_csv(shown, export).json == {"added": 0, "changed": 0, "same": len(CATALOGUE) + 2}
    line = "code,name,category,price\n5012345678900,Pencil,6,1.50\n"
    assert send_csv(shown, line).json == {"added": 0, "changed": 1, "same": 0}
    assert item_named(shown, OLD.code) == replace(OLD, price_cents=150)


@pytest.mark.parametrize("price", [0, -1, 10**12, 1.5, "3", None])
def test_an_absurd_price_changes_nothing(shown: Shown, price: object) -> None:
    assert (
        "is not a whole number of cents"
        in shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": price}, 400)["error"]
    )
    assert "is not a whole number of cents" in shown.sentence("/api/catalogue", {**HONEY, "price_cents": price})
    assert shown.store.items() == sorted(CATALOGUE, key=lambda item: (item.category, item.name))


def test_every_wrong_field_is_named_at_once(shown: Shown) -> None:
    wrong = {"code": "bad code!", "name": "", "category": 9, "price_cents": -1, "retired": "no"}
    answer = shown.post("/api/catalogue", wrong, 400)
    assert list(answer["fields"]) == list(wrong)
    assert answer["error"] == " ".join(answer["fields"].values())
    answer = shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"name": "x" * 61, "price_cents": None}, 400)
    assert set(answer["fields"]) == {"name", "price_cents"}
    answer = shown.post("/api/catalogue", {**HONEY, "code": RYE_BREAD.code, "price_cents": 0}, 400)
    assert answer["fields"]["code"] == f"The code {RYE_BREAD.code} belongs to Rye bread."
    assert set(answer["fields"]) == {"code", "price_cents"}
    assert shown.store.items() == sorted(CATALOGUE, key=lambda item: (item.category, item.name))


@pytest.mark.parametrize("code", ["NOTHING", "..%2f..%2fetc", "%00", "x" * 300])
def test_an_item_that_is_not_there_is_404(shown: Shown, code: str) -> None:
    assert shown.client.put(f"/api/catalogue/{code}", json={"name": "x"}).status_code == 404
    assert shown.client.get(f"/api/catalogue/{code}/label.svg").status_code == 404


def test_a_file_is_taken_over_and_told(shown: Shown) -> None:
    text = (
        f"code,name,category,price\n{RYE_BREAD.code},Rye bread,1,3.49\n{CROISSANT.code},Croissant,1,1.39\nA1,New,2,1\n"
    )
    answer = send_csv(shown, text)
    assert (answer.status_code, answer.json) == (200, {"added": 1, "changed": 1, "same": 1})
    assert item_named(shown, CROISSANT.code) == replace(CROISSANT, price_cents=139)
    assert item_named(shown, "A1") == Item("A1", "New", 2, 100)


def test_one_wrong_line_and_nothing_is_taken_over(shown: Shown) -> None:
    answer = send_csv(shown, f"code,name,category,price\nA1,New,2,1\n{RYE_BREAD.code},Rye bread,1,-3\n")
    assert answer.status_code == 400
    assert answer.json["error"] == "Nothing was imported: 1 line is wrong."
    assert answer.json["lines"] == [
        {"line": 3, "error": "'-3' is not a price; write it like 3.49, from 0.01 to 99999.99."}
    ]
    assert item_named(shown, "A1") is None


def test_an_export_comes_back_as_it_was(shown: Shown) -> None:
    shown.store.change_items([Item("A1", "=cmd|'/c calc'!A0", 1, 100), replace(RYE_BREAD, retired=True)])
    export = shown.client.get("/api/catalogue.csv")
    assert export.mimetype == "text/csv"
    assert export.headers["Content-Disposition"] == 'attachment; filename="catalogue.csv"'
    assert "A1,'=cmd|" in export.text
    answer = send_csv(shown, export.data)
    assert answer.json == {"added": 0, "changed": 0, "same": 25}


def test_a_file_of_another_site_is_not_taken(shown: Shown) -> None:
    text = "code,name,category,price\nA1,New,2,1\n"
    assert send_csv(shown, text, Origin="http://evil.example").status_code == 403
    for kind in ("text/plain", "multipart/form-data", "application/json", ""):
        assert send_csv(shown, text, kind).status_code == 415
    assert item_named(shown, "A1") is None


def test_of_two_who_add_the_same_code_one_is_told(shown: Shown) -> None:
    answers: list[int] = []

    def add() -> None:
        answers.append(shown.program().post("/api/catalogue", json=HONEY).status_code)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 400, 400, 400, 400, 400]


def test_a_shared_catalogue_is_read_only_and_says_so(shown: Shown) -> None:
    assert shown.get("/api/catalogue")["read_only"] == ""
    assert 'id="read-only"' not in shown.client.get("/admin/catalogue").text
    shown.parts.services.catalogue.read_only = CatalogueService(shown.store, shared=True).read_only
    sentence = shown.get("/api/catalogue")["read_only"]
    assert "--catalogue" in sentence
    before = shown.store.items()
    assert shown.sentence("/api/catalogue", HONEY, 409) == sentence
    assert shown.put(f"/api/catalogue/{RYE_BREAD.code}", {"price_cents": 1}, 409)["error"] == sentence
    answer = send_csv(shown, "code,name,category,price\nA1,New,2,1\n")
    assert (answer.status_code, answer.json["error"]) == (409, sentence)
    assert shown.store.items() == before
    page = shown.client.get("/admin/catalogue").text
    assert sentence in page
    for control in ("add", "import", "item-dialog"):
        assert f'id="{control}"' not in page
    assert shown.client.get("/api/catalogue.csv").status_code == 200


# Labels.


def test_labels_come_as_svg_and_png(shown: Shown) -> None:
    shown.post("/api/catalogue", HONEY, 201)
    svg = shown.client.get("/api/catalogue/HONEY-1/label.svg")
    assert svg.mimetype == "image/svg+xml"
    assert "<img" not in svg.text
    assert "script-src" not in svg.headers["Content-Security-Policy"]
    png = shown.client.get("/api/catalogue/HONEY-1/label.png")
    assert png.mimetype == "image/png"
    assert png.data.startswith(b"\x89PNG")
    assert shown.client.get("/api/catalogue/HONEY-1/label.exe").status_code == 404


def test_the_sheet_shows_what_is_wanted(shown: Shown) -> None:
    shown.post("/api/catalogue", HONEY, 201)
    shown.store.change_items([replace(CROISSANT, retired=True)])
    page = shown.client.get("/admin/labels").text
    assert page.count('class="label"') == 24
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "Croissant" not in page
    page = shown.client.get(f"/admin/labels?code={RYE_BREAD.code}&code=HONEY-1&code=NOTHING&copies=3").text
    assert page.count('class="label"') == 6
    assert shown.client.get("/admin/labels?category=5").text.count('class="label"') == 5
    assert "There is no item to print" in shown.client.get("/admin/labels?code=NOTHING").text


def test_the_sheet_has_an_end_and_says_so(shown: Shown) -> None:
    page = shown.client.get("/admin/labels?copies=50").text
    assert page.count('class="label"') == 300
    assert "900 more do not fit one printing" in page


@pytest.mark.parametrize("query", ["copies=0", "copies=51", "copies=x", "category=9", "copies=9999999999999"])
def test_a_sheet_that_nobody_prints_is_refused(shown: Shown, query: str) -> None:
    assert shown.client.get(f"/admin/labels?{query}").status_code == 400
