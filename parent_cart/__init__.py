"""The bridge: a relay that passes frames between carts and never reads a model."""
