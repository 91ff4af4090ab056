"""Where other bridges are, and at which bridge a cart is: a Kademlia DHT."""
