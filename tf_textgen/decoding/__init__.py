"""In-graph generation that knows no model and no text."""
