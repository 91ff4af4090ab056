"""What carts meet in a run: their rows, whom they ask, and what hostile ones do."""
