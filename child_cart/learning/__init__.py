"""Training, collecting and averaging, round after round, and the model versions that come of it."""
