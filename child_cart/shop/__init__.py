"""What is sold: items and their codes, the catalogue, bills and shelf labels."""
