"""Engines: what trains and measures the models of many carts."""
