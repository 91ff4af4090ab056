"""TLS for what listens: a certificate and its key, checked at the start."""

from __future__ import annotations

import ssl

from .settings import SettingError, flag_name, variable_name


def serving_context(certificate: str, key: str, prefix: str) -> ssl.SSLContext | None:
    """Return how to serve with this certificate; None where neither file is named, to serve without TLS.

    Args:
        certificate: file with the certificate chain (PEM), as ``tls_cert`` names it.
        key: file with its private key (PEM), as ``tls_key`` names it.
        prefix: of the program's environment variables, for the error's words.

    Raises:
        SettingError: if they are no certificate and its key, or the key is under a passphrase.
    """
    if not certificate and not key:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password="")  # or OpenSSL would ask the terminal for one
    except (OSError, ssl.SSLError) as error:
        cert_name, key_name = (f"{flag_name(name)} ({variable_name(prefix, name)})" for name in ("tls_cert", "tls_key"))
        raise SettingError(
            f"{cert_name} is {certificate!r} and {key_name} is {key!r}; they are to name a certificate and its key "
            f"({error.strerror or error})."
        ) from None
    return context
