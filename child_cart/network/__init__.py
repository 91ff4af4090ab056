"""What bridge and carts say to each other. Imports no NumPy, no TensorFlow, no Flask."""
