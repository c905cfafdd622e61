"""tf_textgen: train, judge, try and serve text generators with TensorFlow."""
