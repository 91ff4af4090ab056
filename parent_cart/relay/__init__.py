"""The carts' connections: bytes in and out. What may pass is decided in the room of the bridge."""
