"""Who may ask for what: everything needs a login or the token of programs, but for views that are marked as open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, UserMixin, current_user
from flask_wtf import CSRFProtect

from .account import Account

View = TypeVar("View", bound=Callable[..., object])

SESSION_HOURS: Final = 12
BEARER: Final = "bearer"
PROGRAMS: Final = ("/api/", "/metrics")
"""What programs ask for: they are told that they may not, and are not led to the login."""
READING: Final = ("GET", "HEAD", "OPTIONS")


def open_to_all(view: View) -> View:
    """Mark a view as one that shoppers, other programs and strangers may ask for."""
    view.is_open = True  # type: ignore[attr-defined]
    return view


class Operator(UserMixin):  # type: ignore[misc]
    """Whoever has logged in; there is one account."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id


class _Sessions(SecureCookieSessionInterface):
    """Session cookies that a browser sends over https only, where they came that way."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def install_auth(application: Flask, account: Account, cart_name: str) -> None:
    """Let the application ask who somebody is before each view that is not open.

    Args:
        application: gets its sessions, CSRF tokens and checks.
        account: the operator's.
        cart_name: tells this cart's cookie from others' on the same host: a cookie knows no ports.
    """
    application.config.update(
        SECRET_KEY=account.session_key,
        SESSION_COOKIE_NAME=f"cart-{cart_name}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=SESSION_HOURS * 3600,
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_CHECK_DEFAULT=False,  # checked below, where a cookie is what lets somebody in
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: an admin page stays open for hours
    )
    application.session_interface = _Sessions()
    manager = LoginManager(application)
    manager.session_protection = "strong"

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(user_id: str) -> Operator | None:
        return Operator(user_id) if user_id == account.user_id else None

    csrf = CSRFProtect(application)
    application.before_request(lambda: _check(account, csrf))
    application.context_processor(lambda: {"logged_in": bool(current_user.is_authenticated)})


def is_known() -> bool:
    """Return whether the request comes from somebody who has logged in, or from a program with the token."""
    return g.get("has_token", False) or bool(current_user.is_authenticated)


def _check(account: Account, csrf: Any) -> Response | None:
    g.has_token = _has_token(account)
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or request.endpoint == "static":
        return None
    changes = request.method not in READING
    if getattr(view, "is_form", False):
        csrf.protect()
    if getattr(view, "is_open", False):
        return None
    if not is_known():
        return _turn_away(changes)
    if changes and not g.has_token:
        csrf.protect()  # a browser sends its cookie whoever made it ask; the token only the cart's own pages have
    return None


def _has_token(account: Account) -> bool:
    shown = request.authorization
    return shown is not None and shown.type == BEARER and shown.token is not None and account.is_token(shown.token)


def _turn_away(changes: bool) -> Response:
    if changes or request.path.startswith(PROGRAMS):
        abort(401, "Log in first, at /login; programs show the token that lies in the cart's data folder.")
    return redirect(url_for("login.form", next=request.full_path.removesuffix("?")))  # type: ignore[return-value]
