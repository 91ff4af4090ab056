"""The shop: items and their codes, the catalogue, bills and shelf labels."""
