"""The model families, all on one contract (`base`)."""
