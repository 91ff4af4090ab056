"""Tasks, training, the codec, aggregation and verdicts. Only the trainer process imports TensorFlow."""
