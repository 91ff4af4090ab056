"""Log in, log out, change the password: plain forms, each with a CSRF token."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from typing import Any, Final

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user, login_user, logout_user
from flask_wtf import FlaskForm
from wtforms import PasswordField
from wtforms.validators import Length

from .account import MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, Account, PasswordRefused, check_new
from .auth import Operator, open_to_all
from .client_address import client_address
from .login_throttle import LoginThrottle
from .request_guard import takes_form

log = logging.getLogger("cart.login")

HOME: Final = "/admin"
OWN_PAGE: Final = re.compile(r"/admin[\w/?=&%.-]*")


class LoginForm(FlaskForm):  # type: ignore[misc]
    """The password."""

    password = PasswordField(validators=[Length(max=MAX_PASSWORD_CHARS)])


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """The password and the new one, twice."""

    password = PasswordField(validators=[Length(max=MAX_PASSWORD_CHARS)])
    new = PasswordField(validators=[Length(max=MAX_PASSWORD_CHARS)])
    again = PasswordField(validators=[Length(max=MAX_PASSWORD_CHARS)])


class PasswordCheck:
    """Checks passwords, within the limits of a throttle."""

    def __init__(self, account: Account, throttle: LoginThrottle) -> None:
        self._account = account
        self._throttle = throttle
        self._taking = threading.Lock()

    def refusal(self, password: str) -> tuple[str, int]:
        """Return why a password is refused, and the seconds to wait before the next try; ``("", 0)`` if it is not."""
        address = client_address(request)
        with self._taking:
            wait_s = math.ceil(self._throttle.take(address, time.monotonic()))
        if wait_s:
            log.warning("a password from %s was not looked at: too many tries", address)
            return f"Too many tries. Wait {wait_s} s, then try again.", wait_s
        if not self._account.is_password(password):
            log.warning("a wrong password came from %s", address)
            return "This is not the password.", 0
        with self._taking:
            self._throttle.give_back(address)
        return "", 0


def login(account: Account) -> Blueprint:  # noqa: C901 - one short function for each address
    """Return the blueprint of ``/login``, ``/logout`` and ``/admin/password``."""
    blueprint = Blueprint("login", __name__)
    passwords = PasswordCheck(account, LoginThrottle())

    @blueprint.get("/login")
    @open_to_all
    def form() -> Any:
        if current_user.is_authenticated:
            return redirect(_next())
        return render_template("login.html", form=LoginForm(), next=_next(), error="")

    @blueprint.post("/login")
    @open_to_all
    @takes_form
    def log_in() -> Any:
        sent = LoginForm()
        error, wait_s = passwords.refusal(sent.password.data or "")
        if error:
            return _refused("login.html", error, wait_s, form=sent, next=_next())
        login_user(Operator(account.user_id))
        log.info("an operator has logged in from %s", client_address(request))
        return redirect(_next())

    @blueprint.post("/logout")
    @takes_form
    def log_out() -> Any:
        account.end_sessions()
        logout_user()
        return redirect(url_for("login.form"))

    @blueprint.get("/admin/password")
    def password_form() -> Any:
        return _password_page()

    @blueprint.post("/admin/password")
    @takes_form
    def change_password() -> Any:
        sent = PasswordForm()
        new = sent.new.data or ""
        wrong, wait_s = _wrong_fields(sent, passwords)
        if not wrong:
            try:
                account.change_password(new)
            except PasswordRefused as refused:
                wrong["new"] = str(refused)
        if wrong:
            return _refused(
                "password.html", " ".join(wrong.values()), wait_s, wrong=wrong, form=sent, least=MIN_PASSWORD_CHARS
            )
        log.info("the admin password was changed from %s", client_address(request))
        login_user(Operator(account.user_id))
        flash("The password is changed, and every other session has ended.")
        return redirect(HOME)

    return blueprint


def _wrong_fields(sent: PasswordForm, passwords: PasswordCheck) -> tuple[dict[str, str], int]:
    """Return what is wrong with each field of a change, and the seconds to wait before the next try."""
    error, wait_s = passwords.refusal(sent.password.data or "")
    wrong = {"password": error} if error else {}
    try:
        check_new(sent.new.data or "")
    except PasswordRefused as refused:
        wrong["new"] = str(refused)
    if sent.new.data != sent.again.data:
        wrong["again"] = "The two new passwords are not the same."
    return wrong, wait_s


def _password_page() -> str:
    return render_template("password.html", form=PasswordForm(), least=MIN_PASSWORD_CHARS, wrong={})


def _refused(template: str, error: str, wait_s: int, **shown: Any) -> Any:
    answer = make_response(render_template(template, error=error, **shown), 429 if wait_s else 403)
    if wait_s:
        answer.headers["Retry-After"] = str(wait_s)
    return answer


def _next() -> str:
    """Return the page to show after the login: the one first requested, if it is an admin page of this cart."""
    wanted = request.values.get("next", "")
    return wanted if OWN_PAGE.fullmatch(wanted) else HOME
