"""The local server: TF Serving's REST paths, OpenAI's completions, and a page."""
