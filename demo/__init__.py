"""A whole fleet on one machine: a bridge, some carts, and simulated shoppers. Run it with ``python -m demo``."""
