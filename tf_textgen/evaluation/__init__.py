"""How good generated texts are: pure functions of texts, without TensorFlow."""
