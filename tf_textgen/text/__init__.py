"""Strings to ids and back, as TensorFlow ops."""
