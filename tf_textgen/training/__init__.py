"""What `model.fit` needs: schedules, optimizers, checkpoints, callbacks."""
