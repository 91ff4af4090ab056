"""The packages that a run depends on: their versions, and those that one setting alone needs."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from cart_common import __version__
from cart_common.process.settings import SettingError

PACKAGES: Final = ("numpy", "keras", "jax", "tensorflow-cpu", "tensorflow", "scikit-learn")


def needed(module: str, setting: str, extra: str) -> Any:
    """Return a module of an optional package.

    Args:
        module: its name.
        setting: what needs it, as it is given on the command line.
        extra: of ``federated-carts`` that requires the package.

    Raises:
        SettingError: if it is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise SettingError(
            f"{setting} needs a package that is not installed here ({error}). Install it: "
            f"pip install 'federated-carts[{extra}]', or -r lab/requirements-{extra}.txt in a clone."
        ) from None


def versions() -> dict[str, str]:
    """Return what results depend on beside the configuration: this program's version, Python's and the libraries'."""
    found = {"federated-carts": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
