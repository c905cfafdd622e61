"""Metrics of generated texts: pure functions of texts. Does not import TensorFlow."""
