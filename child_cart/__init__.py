"""A cart: pages, store, trainer and the link to the bridge."""
