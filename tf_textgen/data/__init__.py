"""Text files to tf.data features."""
