"""The pages and what they load: all of it their own, nothing inline, and light."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.carts.shown import CROISSANT, RYE_BREAD, Shown, bill_of

import cart_common
import child_cart

STATIC = Path(child_cart.__file__).parent / "static"
TEMPLATES = STATIC.parent / "templates"
SCRIPTS = sorted(STATIC.glob("*.js"))
MAX_PAGE_BYTES = 150_000
MAX_SCRIPT_LINES = 250
PAGES = ["/", "/login", "/admin", "/admin/catalogue", "/admin/labels", "/admin/password"]
PAGES += ["/admin/receipts", "/receipt?sale=s1"]
WITHOUT_SCRIPTS = ["/login"]
SALE = {"sale_id": "s1", "gender": 0, "lines": bill_of((RYE_BREAD.code, 2), (CROISSANT.code, 10))}


@pytest.fixture(autouse=True)
def _a_sale(shown: Shown) -> None:
    shown.post("/api/checkout", SALE, 201)


def page(shown: Shown, address: str) -> str:
    response = shown.client.get(address)
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    return response.text


def loaded(shown: Shown, address: str) -> dict[str, bytes]:
    """Return what the page loads, with the modules that its modules import, by address."""
    found: dict[str, bytes] = {}
    waiting = re.findall(r'(?:src|href)="(/static/[^"]+)"', page(shown, address))
    while waiting:
        wanted = waiting.pop()
        if wanted in found:
            continue
        with shown.client.get(wanted) as response:
            assert response.status_code == 200, wanted
            found[wanted] = response.data
        if wanted.endswith(".js"):
            waiting += [f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', found[wanted].decode())]
            waiting += re.findall(r'"(/static/[^"]+)"', found[wanted].decode())
    return found


@pytest.mark.parametrize("address", PAGES)
def test_a_page_loads_only_what_is_there_and_little_of_it(shown: Shown, address: str) -> None:
    parts = loaded(shown, address)
    assert any(name.endswith(".css") for name in parts)
    assert any(name.endswith(".js") for name in parts) == (address not in WITHOUT_SCRIPTS)
    assert len(page(shown, address)) + sum(map(len, parts.values())) < MAX_PAGE_BYTES


@pytest.mark.parametrize("address", sorted({*PAGES} - {*WITHOUT_SCRIPTS}))
def test_a_page_takes_or_stops_the_keys_of_a_hand_scanner(shown: Shown, address: str) -> None:
    assert "/static/wedge.js" in loaded(shown, address)


@pytest.mark.parametrize("address", PAGES)
def test_a_page_forbids_what_is_not_its_own(shown: Shown, address: str) -> None:
    headers = shown.client.get(address).headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert set(policy) == {
        *("default-src 'self'", "object-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'")
    }
    assert headers["Permissions-Policy"].startswith("camera=(self), microphone=()")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("address", PAGES)
def test_a_page_has_nothing_inline_and_nothing_from_elsewhere(shown: Shown, address: str) -> None:
    text = page(shown, address)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("address", PAGES)
def test_ids_are_unique_and_every_reference_to_one_leads_somewhere(shown: Shown, address: str) -> None:
    text = page(shown, address)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:aria-labelledby|aria-describedby|for|href)="#?([\w-]+)"', text)
    assert set(references) <= set(ids)


@pytest.mark.parametrize(
    ("address", "main"),
    [("/", "shop.js"), ("/admin", "admin.js"), ("/admin/catalogue", "shelf.js"), ("/admin/labels", "print.js")],
)
def test_every_element_that_the_scripts_ask_for_is_in_the_page(shown: Shown, address: str, main: str) -> None:
    ids = set(re.findall(r'\sid="([^"]+)"', page(shown, address)))
    parts = loaded(shown, address)
    assert f"/static/{main}" in parts
    for name, content in parts.items():
        if name.endswith(".js"):
            assert set(re.findall(r'byId\("([^"]+)"\)', content.decode())) <= ids, name


@pytest.mark.parametrize(
    ("address", "named"),
    [("/", "/"), ("/admin", "/admin"), ("/admin/labels", "/admin/catalogue"), ("/admin/password", "/admin")],
)
def test_the_page_says_which_one_it_is(shown: Shown, address: str, named: str) -> None:
    text = shown.browser().client.get(address).text
    assert re.findall(r'href="([^"]+)"\s+aria-current="page"', text) == [named]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_short_and_makes_no_markup_of_data(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) < MAX_SCRIPT_LINES
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_imports_only_what_its_neighbours_export(script: Path) -> None:
    for names, neighbour in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', script.read_text()):
        exported = re.findall(r"export (?:async )?(?:const|function|class) (\w+)", (STATIC / neighbour).read_text())
        wanted = {name.strip() for name in names.split(",") if name.strip()}
        assert wanted <= set(exported), neighbour


def test_no_file_lies_unused(shown: Shown) -> None:
    used = {name for address in PAGES for name in loaded(shown, address)}
    assert used == {f"/static/{path.name}" for path in STATIC.iterdir()}


def test_a_receipt_can_be_opened_by_who_knows_its_sale(shown: Shown) -> None:
    text = shown.stranger().get("/receipt?sale=s1").text
    assert "2 \u00d7 Rye bread" in text
    assert "10 \u00d7 Croissant" in text
    assert text.count("6.98") == text.count("12.90") == 1
    assert "19.88" in text
    assert "Woman" not in text


@pytest.mark.parametrize("sale", ["", "s2", "%00", "%ff", "x" * 5000, "../admin", "%3Cscript%3E"])
def test_a_receipt_that_is_not_there_is_404(shown: Shown, sale: str) -> None:
    answer = shown.stranger().get(f"/receipt?sale={sale}", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "There is no receipt with this number." in answer.text


def test_the_operator_finds_the_receipts_of_the_last_sales(shown: Shown) -> None:
    odd = "a/b?c=d&e"
    shown.post("/api/checkout", {**SALE, "sale_id": odd}, 201)
    links = re.findall(r'href="(/receipt\?[^"]+)"', shown.client.get("/admin/receipts").text)
    assert len(links) == 2
    assert all("19.88" in shown.client.get(link).text for link in links)
    assert shown.stranger().get("/admin/receipts").status_code == 302


def test_json_is_never_kept_by_a_browser(shown: Shown) -> None:
    assert shown.client.get("/api/status").headers["Cache-Control"] == "no-store"


def test_every_page_shows_the_version(shown: Shown) -> None:
    for address in ("/", "/admin", "/admin/catalogue", "/admin/labels"):
        assert f"federated-carts {cart_common.__version__}</footer>" in shown.client.get(address).text
    assert f"federated-carts {cart_common.__version__}</footer>" in shown.stranger().get("/login").text
