"""From what a camera sees, or a hand scanner types, to an item of the catalogue."""
