"""TLS for servers: a certificate and its key, checked at the start."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from .os_errors import error_words
from .settings import SettingError, flag_name, variable_name

T = TypeVar("T")


def serving_context(certificate: str, key: str, prefix: str) -> ssl.SSLContext | None:
    """Return the context for serving with this certificate; None, to serve without TLS, if neither file is named.

    Args:
        certificate: file with the certificate chain (PEM), as ``tls_cert`` names it.
        key: file with its private key (PEM), as ``tls_key`` names it.
        prefix: of the program's environment variables, for the error's words.

    Raises:
        SettingError: if they are not a certificate and its key, or the key has a passphrase.
    """
    if not certificate and not key:
        return None
    cert_name, key_name = (f"{flag_name(name)} ({variable_name(prefix, name)})" for name in ("tls_cert", "tls_key"))
    if not certificate or not key:
        given, missing = (cert_name, key_name) if certificate else (key_name, cert_name)
        raise SettingError(f"{given} is given without {missing}; it takes both, a certificate and its private key.")
    chain = _loaded(f"{cert_name} is {certificate!r}", certificate, load_pem_x509_certificates, "certificate")
    own = _loaded(f"{key_name} is {key!r}", key, lambda text: load_pem_private_key(text, None), "private key")
    if chain[0].public_key() != own.public_key():
        raise SettingError(f"{key_name} is {key!r}; that key does not belong to the certificate {certificate!r}.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password="")  # or OpenSSL would ask the terminal for one
    except (OSError, ssl.SSLError) as error:
        why = error_words(error)
        raise SettingError(f"{cert_name} is {certificate!r}; it cannot be served ({why}).") from None
    return context


def _loaded(what: str, file: str, load: Callable[[bytes], T], kind: str) -> T:
    """Return what a file holds; the error names the wrong file, which OpenSSL's does not."""
    try:
        return load(Path(file).read_bytes())
    except OSError as error:
        raise SettingError(f"{what}; it cannot be read ({error_words(error)}).") from None
    except TypeError:
        raise SettingError(f"{what}; it is under a passphrase. Give one that is not, in a file of its own.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError(f"{what}; it holds no {kind} as PEM (-----BEGIN {kind.upper()}).") from None
