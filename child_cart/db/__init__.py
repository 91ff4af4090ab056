"""Where a cart keeps its sales, rows, versions and rounds."""
