"""What a bridge knows of other bridges, and of carts wherever they are."""
