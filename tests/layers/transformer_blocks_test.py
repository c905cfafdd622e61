import keras
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.transformer_blocks import DecoderBlock


class _Attention(keras.layers.Layer):
    """Adds 1, and gives a cache of its own."""

    def call(self, inputs, bias, *, rotation=None, past=None, slot=None, training=False):
        return inputs + 1.0, "present"


def _times(factor):
    return keras.layers.Lambda(lambda x: x * factor)


def _block(placement, **options):
    parts = _Attention(), _times(10.0), _times(2.0), _times(3.0)
    return DecoderBlock(*parts, norm_placement=placement, **options)


def test_pre_norm():
    result, present = _block("pre").call(tf.ones([1, 1, 1]), tf.zeros([]))
    middle = 1.0 + (2.0 * 1.0 + 1.0)
    assert float(result[0, 0, 0]) == middle + 10.0 * 3.0 * middle
    assert present == "present"


def test_post_norm():
    result, _ = _block("post").call(tf.ones([1, 1, 1]), tf.zeros([]))
    middle = 2.0 * (1.0 + (1.0 + 1.0))
    assert float(result[0, 0, 0]) == 3.0 * (middle + 10.0 * middle)


class _CrossAttention(keras.layers.Layer):
    """Adds what it is given of the source."""

    def call(self, inputs, memory, bias, training=False):
        return inputs + memory + bias


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_a_source_is_read_between_attention_and_feed_forward(placement):
    block = _block(placement, cross_attention=_CrossAttention(), cross_attention_norm=_times(5.0))
    result, _ = block.call(
        tf.ones([1, 1, 1]), tf.zeros([]), memory=tf.fill([1, 1, 1], 7.0), memory_bias=tf.ones([])
    )
    if placement == "pre":
        first = 1.0 + (2.0 * 1.0 + 1.0)
        middle = first + (5.0 * first + 7.0 + 1.0)
        assert float(result[0, 0, 0]) == middle + 10.0 * 3.0 * middle
    else:
        first = 2.0 * (1.0 + (1.0 + 1.0))
        middle = 5.0 * (first + (first + 7.0 + 1.0))
        assert float(result[0, 0, 0]) == 3.0 * (middle + 10.0 * middle)


def test_dropout_drops_both_sublayers_in_training_alone():
    block = _block("pre", dropout=0.999, seed=0)
    x = tf.ones([1, 4, 8])
    assert float(tf.reduce_max(block.call(x, tf.zeros([]), training=False)[0])) == 124.0
    assert float(tf.reduce_min(block.call(x, tf.zeros([]), training=True)[0])) == 1.0
    reads = _block(
        "pre",
        dropout=0.999,
        seed=0,
        cross_attention=_CrossAttention(),
        cross_attention_norm=_times(5.0),
    )
    result, _ = reads.call(x, tf.zeros([]), memory=x, memory_bias=tf.zeros([]), training=True)
    assert float(tf.reduce_min(result)) == 1.0


def test_unknown_placement_is_named():
    with pytest.raises(UserError, match="norm_placement 'both': expected pre or post"):
        _block("both")
