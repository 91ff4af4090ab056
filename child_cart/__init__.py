"""A cart: pages, store, trainer and the link to the bridge."""

__version__ = "0.1.0"
