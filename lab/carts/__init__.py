"""Simulated carts: the product's own rounds over memory, an in-memory relay and a virtual clock."""
