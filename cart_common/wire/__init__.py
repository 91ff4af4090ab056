"""What bridge and carts say to each other: messages, chunks, records, identities and keys. No I/O."""
