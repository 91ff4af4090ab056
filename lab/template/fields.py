"""What a row of the task is."""

FIELDS = {"heat": (60.0, 15.0), "noise": (70.0, 8.0), "load": (0.5, 0.2), "hours": (4000.0, 1500.0)}
"""The numbers of a row that a model sees; of each a usual value and how far most are from it."""
TARGET = "state"
"""The field that a model learns to predict."""
CLASSES = ("good", "worn", "broken")
"""What it can be, as texts."""
