"""Runs: carried out, kept in folders, measured beside bounds and methods of the literature, and compared."""
