"""Losses and metrics as sums of tokens."""
