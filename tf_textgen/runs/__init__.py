"""A run folder: its recipe, configurations, checkpoints, record, and the run loaded as a
`TextGenerator`.
"""
