"""The bridge from the inside: the hub decides, the relay moves bytes."""
