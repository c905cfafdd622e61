"""Token ids as one string per row, in decimal and separated by spaces: "17 4 230".

A server merges requests along the first dimension only, so the ids of a row are one string instead
of a dimension of their own.
"""

from __future__ import annotations

import tensorflow as tf

_NUMBER = "[0-9]{1,10}"  # far below what an int64 holds


def join_ids(tokens: tf.RaggedTensor) -> tf.Tensor:
    """`[B, None]` of any integer type -> `[B]` string."""
    words = tokens.with_flat_values(tf.strings.as_string(tokens.flat_values))
    return tf.strings.reduce_join(words, 1, separator=" ")


def split_ids(texts: tf.Tensor) -> tf.RaggedTensor:
    """`[B]` string -> `[B, None]` int64, with -1 for each word that is not a number."""
    words = tf.strings.split(texts)
    known = tf.strings.regex_full_match(words.flat_values, _NUMBER)
    numbers = tf.where(known, words.flat_values, "-1")
    return words.with_flat_values(tf.strings.to_number(numbers, tf.int64))
