"""Authentication: every view needs a login or the token of programs, unless it is marked as open."""

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
"""Addresses that programs use: without authentication they answer 401, and do not redirect to the login."""
READING: Final = ("GET", "HEAD", "OPTIONS")


def open_to_all(view: View) -> View:
    """Mark a view as open: it needs no login."""
    view.is_open = True  # type: ignore[attr-defined]
    return view


class Operator(UserMixin):  # type: ignore[misc]
    """The user of a session; there is one account."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id


class _Sessions(SecureCookieSessionInterface):
    """Session cookies; one that was set over https is sent over https only."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def install_auth(application: Flask, account: Account, cart_name: str) -> None:
    """Make the application authenticate each request to a view that is not open.

    Args:
        application: gets sessions, CSRF tokens and the check.
        account: the operator's.
        cart_name: part of the cookie's name. Cookies ignore ports, so carts on one host need names of their own.
    """
    application.config.update(
        SECRET_KEY=account.session_key,
        SESSION_COOKIE_NAME=f"cart-{cart_name}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=SESSION_HOURS * 3600,
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_CHECK_DEFAULT=False,  # checked below, for requests that a cookie authenticates
        WTF_CSRF_TIME_LIMIT=None,  # valid as long as the session: an admin page stays open for hours
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
    """Return whether the request comes from a logged-in user or from a program with the token."""
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
        csrf.protect()  # other sites can make a browser send its cookie, but only the cart's pages hold this token
    return None


def _has_token(account: Account) -> bool:
    shown = request.authorization
    return shown is not None and shown.type == BEARER and shown.token is not None and account.is_token(shown.token)


def _turn_away(changes: bool) -> Response:
    if changes or request.path.startswith(PROGRAMS):
        abort(401, "Log in first, at /login; programs show the token that lies in the cart's data folder.")
    return redirect(url_for("login.form", next=request.full_path.removesuffix("?")))  # type: ignore[return-value]
