"""What `model.fit` needs: optimizers, schedules, callbacks by global step, checkpoints, the run
folder.
"""
