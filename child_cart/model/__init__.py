"""Tasks, training, the codec, averaging and verdicts. TensorFlow is imported by the trainer process alone."""
