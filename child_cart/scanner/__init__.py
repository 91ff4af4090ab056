"""Find the item of the catalogue for a code that a camera sees or a hand scanner types."""
