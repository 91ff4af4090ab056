"""The store: a cart's sales, rows, versions and rounds."""
