"""Token ids as one string a row, in decimal with spaces between: "17 4 230".

A server merges requests along the first dimension only, so a request can carry a row's ids in a
string but not in a dimension of their own.
"""

from __future__ import annotations

import tensorflow as tf

_NUMBER = "[0-9]{1,10}"  # far below what an int64 holds


def join_ids(tokens: tf.RaggedTensor) -> tf.Tensor:
    """`[B, None]` of any integer type -> `[B]` string."""
    return tf.strings.reduce_join(
        tokens.with_flat_values(tf.strings.as_string(tokens.flat_values)), 1, separator=" "
    )


def split_ids(texts: tf.Tensor) -> tf.RaggedTensor:
    """`[B]` string -> `[B, None]` int64, with -1 for each word that is no number: nothing fails."""
    words = tf.strings.split(texts)
    known = tf.strings.regex_full_match(words.flat_values, _NUMBER)
    return words.with_flat_values(
        tf.strings.to_number(tf.where(known, words.flat_values, "-1"), tf.int64)
    )
