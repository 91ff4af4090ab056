"""A real browser: Debian's Chromium, driven by Playwright; and axe, which finds barriers in a page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 30_000
CONTROL, SHIFT = 2, 8
"""Modifiers of a key, as the DevTools protocol numbers them."""
SERIOUS = ("serious", "critical")


def why_not() -> str:
    """Return why no browser can be driven here; nothing if one can."""
    missing = [name for name in ("playwright", "axe_playwright_python") if find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} is not installed: pip install -r requirements-dev.txt"
    if shutil.which(CHROMIUM) is None:
        return f"there is no {CHROMIUM}: sudo apt install chromium"
    return ""


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Run the browser, with more flags perhaps."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


def camera_at(code: str, folder: Path) -> list[str]:
    """Return the flags of a browser whose camera sees nothing but a shelf label with this code."""
    from support.browser import code_pictures as pictures

    film = folder / "label.mjpeg"
    film.write_bytes(pictures.jpegs([pictures.on_a_shelf(pictures.qr(code), size=(640, 480))] * 2))
    return ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]


class Troubles:
    """What went wrong in pages: script errors, violations of the content security policy, opened dialogs."""

    def __init__(self, context: BrowserContext) -> None:
        self.seen: list[str] = []
        context.on("weberror", lambda error: self.seen.append(f"{error.page and error.page.url}: {error.error}"))
        context.on("console", self._look_at)
        context.on("dialog", self._dismiss)

    def _look_at(self, message: Any) -> None:
        if "Content Security Policy" in message.text or "Permissions-Policy" in message.text:
            self.seen.append(message.text)

    def _dismiss(self, dialog: Any) -> None:
        self.seen.append(f"a dialog that says {dialog.message!r}")
        dialog.dismiss()


def findings(page: Page) -> list[str]:
    """Return what axe finds serious or critical in the page as it is now, one line for each place."""
    page.evaluate(_axe())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['impact']} {violation['id']}: {violation['help']} at {node['target']}: {node['html'][:160]}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


def _axe() -> str:
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")


def scan_with_keys(
    page: Page,
    text: str,
    gap_s: float = 0.005,
    suffix: str = "Enter",
    layout: Callable[[str], tuple[str, str, int]] | None = None,
) -> None:
    """Type as a hand scanner does: real keys, at the times that a scanner's have, however slow this machine is.

    Args:
        page: where the focus is.
        text: what the symbol holds; a line feed is typed as Enter.
        gap_s: between two keys.
        suffix: ``Enter``, ``Tab``, or nothing.
        layout: what a character typed on an American keyboard becomes here, with the name of its key and its modifiers.
    """
    session = page.context.new_cdp_session(page)
    at = time.time()  # a key from before the page was opened would have no time of its own
    for char in [*text, suffix]:
        for kind in ("keyDown", "keyUp") if char else ():
            session.send("Input.dispatchKeyEvent", {"type": kind, "timestamp": at, **_key(char, layout)})
        at += gap_s
    session.detach()


def _key(char: str, layout: Callable[[str], tuple[str, str, int]] | None) -> dict[str, Any]:
    if char in ("Enter", "\n"):
        return {"key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
    if char == "Tab":
        return {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    if char == "\x1d":
        return {"key": "]", "code": "BracketRight", "modifiers": CONTROL}
    if char == " ":
        return {"key": " ", "code": "Space", "text": " ", "windowsVirtualKeyCode": 32}
    key, code, modifiers = layout(char) if layout else (char, "", 0)
    return {"key": key, "code": code, "modifiers": modifiers, **({"text": key} if len(key) == 1 else {})}


def azerty(char: str) -> tuple[str, str, int]:
    """Return what a French layout makes of the key that types this character on an American keyboard."""
    unshifted = dict(zip("1234567890-", "&é\"'(-è_çà)", strict=True))
    letters = dict(zip("aqzwm", "qawz,", strict=True))
    if char.isdigit():
        return unshifted[char], f"Digit{char}", 0
    if char == "-":
        return unshifted[char], "Minus", 0
    key = letters.get(char.lower(), char.lower())
    return (key.upper(), f"Key{char}", SHIFT) if char.isupper() else (key, f"Key{char.upper()}", 0)
