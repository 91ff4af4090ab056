"""A whole fleet on one machine: a bridge, some carts, and shoppers that buy faster than life. ``python -m demo``."""
