"""Training with `model.fit`: optimizers, schedules, callbacks by global step, checkpoints, the run
folder.
"""
