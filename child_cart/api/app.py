"""The Flask application of a cart: JSON under ``/api``, the shop at ``/``, the admin pages under ``/admin``.

Translates between HTTP and the services; decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Flask, Response, jsonify, render_template, request
from flask_cors import CORS
from prometheus_client import Counter
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, ServiceUnavailable, TooManyRequests

from cart_common import __version__
from cart_common.process.addresses import Network
from cart_common.process.settings import SettingError

from ..db.deadline import within
from ..db.store import StoreError
from ..scanner.picture import PictureError
from ..scanner.reader import ReaderBusy
from ..scanner.service import ScannerAway
from ..shop.billing import BillError
from ..shop.catalogue import CatalogueError, FieldsRefused, ReadOnlyCatalogue
from ..shop.checkout_limit import TooManySales
from .access.account import Account
from .access.auth import install_auth
from .access.login import login
from .access.request_guard import refuse_foreign_host, refuse_foreign_origin
from .catalogue import catalogue
from .learning import add_learning
from .metrics import metrics, new_refusals
from .operator import operator
from .pages import pages
from .request_parsing import RequestError
from .scan import scan
from .services import Services
from .serving.forwarded import ForwardedClients
from .serving.lanes import refuse_when_full
from .settings import add_settings
from .shop import add_shop
from .status import add_status

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY_BYTES: Final = 4 * 1024 * 1024


READ_BY_OTHERS: Final = r"/api/(status|items|trending)$"
POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
NOT_NEEDED: Final = ("microphone", "geolocation", "payment", "usb", "display-capture")
PERMISSIONS: Final = ", ".join(("camera=(self)", *(f"{name}=()" for name in NOT_NEEDED)))


def create_app(
    services: Services,
    account: Account,
    known_hosts: frozenset[str] = frozenset(),
    api_origins: Sequence[str] = (),
    trusted_proxies: Sequence[Network] = (),
    store_timeout_s: float = 5.0,
) -> Flask:
    """Return the application of a cart.

    Args:
        services: what stands behind the pages.
        account: the operator's.
        known_hosts: names of this cart, beside addresses and localhost, in lower case.
        api_origins: origins whose pages may read what needs no login.
        trusted_proxies: networks of the proxies that tell the address of a client.
        store_timeout_s: how long a request may wait for the store, all in all.
    """
    application = Flask(__name__, template_folder="../templates", static_folder="../static")
    application.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    application.wsgi_app = ForwardedClients(application.wsgi_app, trusted_proxies)  # type: ignore[method-assign]
    application.wsgi_app = _waiting_at_most(store_timeout_s, application.wsgi_app)  # type: ignore[assignment, method-assign]
    application.json.sort_keys = False  # type: ignore[attr-defined]
    application.before_request(refuse_when_full)
    application.before_request(refuse_foreign_host(known_hosts))
    application.before_request(refuse_foreign_origin)
    install_auth(application, account, services.status.info.cart_id[:8])
    application.after_request(_harden)
    refusals = new_refusals()
    application.after_request(_counted_in(refusals))
    if api_origins:
        CORS(application, resources=READ_BY_OTHERS, origins=list(api_origins), methods=["GET"], send_wildcard=False)
    for blueprint in (
        _service(services),
        scan(services.scanner),
        catalogue(services.catalogue),
        operator(services.operator),
    ):
        application.register_blueprint(blueprint, url_prefix="/api")
    application.register_blueprint(pages(services.catalogue, services.checkout))
    application.register_blueprint(login(account))
    application.register_blueprint(metrics(services.status, services.scanner.codes, refusals))
    application.context_processor(lambda: {"version": __version__, "currency": services.catalogue.currency})
    for refused in (BillError, CatalogueError, PictureError, RequestError, SettingError):
        application.register_error_handler(refused, _refused)
    application.register_error_handler(ReadOnlyCatalogue, _kept_elsewhere)
    application.register_error_handler(FieldsRefused, _fields_refused)
    application.register_error_handler(TooManySales, _too_many)
    for out_of_order in (StoreError, ReaderBusy, ScannerAway):
        application.register_error_handler(out_of_order, _out_of_order)
    application.register_error_handler(HTTPException, _http_error)
    return application


def _waiting_at_most(store_timeout_s: float, wsgi_app: WSGIApplication) -> WSGIApplication:
    def bounded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with within(store_timeout_s):
            return wsgi_app(environ, start_response)

    return bounded


def _service(services: Services) -> Blueprint:
    """Return one blueprint for four groups of addresses: its name is in the labels of ``cart_refused_requests``."""
    blueprint = Blueprint("service", __name__)
    add_status(blueprint, services.status)
    add_shop(blueprint, services.checkout, services.trending)
    add_learning(blueprint, services.operator, services.rows)
    add_settings(blueprint, services.settings)
    return blueprint


def _harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Permissions-Policy"] = PERMISSIONS
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response


def _counted_in(refusals: Counter) -> Callable[[Response], Response]:
    def count(response: Response) -> Response:
        if response.status_code >= 400:
            refusals.labels(request.endpoint or "none", response.status_code).inc()
        return response

    return count


def _refused(error: Exception) -> Any:
    return _http_error(BadRequest(str(error)))


def _fields_refused(error: FieldsRefused) -> tuple[Response, int]:
    return jsonify(error=str(error), fields=error.fields), 400


def _kept_elsewhere(error: Exception) -> Any:
    return _http_error(Conflict(str(error)))


def _too_many(error: TooManySales) -> Any:
    return _http_error(TooManyRequests(str(error), retry_after=math.ceil(error.wait_s)))


def _out_of_order(error: Exception) -> Any:
    return _http_error(ServiceUnavailable(str(error)))


def _http_error(error: HTTPException) -> Any:
    """Answer an error in the form that the client reads: JSON at the API, a page of the cart in a browser."""
    if error.response is not None or error.code is None or error.code < 400:
        return error
    response = error.get_response()  # with the headers that belong to its status
    if request.path.startswith("/api/"):
        response.data, response.mimetype = jsonify(error=error.description).data, "application/json"
    elif _shows_pages():
        response.data = render_template("error.html", error=error)
    return response


def _shows_pages() -> bool:
    """Whether a browser asks for a page: it names HTML. What else it names, and in which order, differs by browser."""
    return any(kind == "text/html" and quality > 0 for kind, quality in request.accept_mimetypes)
