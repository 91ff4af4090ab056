"""The pages of a cart and their JSON."""
