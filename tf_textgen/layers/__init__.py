"""Keras layers of the models."""
