"""Long runs that hold a cart's promises under kills; ``python -m tests.soak.kills``."""
