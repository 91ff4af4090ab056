"""Models on their way between carts: sealed, in chunks, over whichever bridge both carts have."""
