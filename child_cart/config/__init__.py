"""The cart's settings, and the changes made to them while it runs."""

from .settings import CartSettings, bridge_urls, check, exchange_limits, origins_of
from .settings_book import SettingsBook

__all__ = ["CartSettings", "SettingsBook", "bridge_urls", "check", "exchange_limits", "origins_of"]
