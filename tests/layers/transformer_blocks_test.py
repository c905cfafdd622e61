import keras
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.transformer_blocks import TransformerBlock


class _Attention(keras.layers.Layer):
    """Adds 1, and gives a cache of its own."""

    def call(self, inputs, bias, *, rotation=None, past=None, slot=None, training=False):
        return inputs + 1.0, "present"


def _times(factor):
    return keras.layers.Lambda(lambda x: x * factor)


def _block(placement, **options):
    parts = _Attention(), _times(10.0), _times(2.0), _times(3.0)
    return TransformerBlock(*parts, norm_placement=placement, **options)


def test_pre_norm():
    result, present = _block("pre").call(tf.ones([1, 1, 1]), tf.zeros([]))
    middle = 1.0 + (2.0 * 1.0 + 1.0)
    assert float(result[0, 0, 0]) == middle + 10.0 * 3.0 * middle
    assert present == "present"


def test_post_norm():
    result, _ = _block("post").call(tf.ones([1, 1, 1]), tf.zeros([]))
    middle = 2.0 * (1.0 + (1.0 + 1.0))
    assert float(result[0, 0, 0]) == 3.0 * (middle + 10.0 * middle)


def test_dropout_drops_both_sublayers_in_training_alone():
    block = _block("pre", dropout=0.999, seed=0)
    x = tf.ones([1, 4, 8])
    assert float(tf.reduce_max(block.call(x, tf.zeros([]), training=False)[0])) == 124.0
    assert float(tf.reduce_min(block.call(x, tf.zeros([]), training=True)[0])) == 1.0


def test_unknown_placement_is_named():
    with pytest.raises(UserError, match="norm_placement 'both': expected pre or post"):
        _block("both")
