"""When a row ends: the end token, its number of tokens, a stop string in its text, or a loop in its
tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.parameter_table import SEPARATOR

FINISH_REASONS = ("eos", "length", "stop", "loop")
REASONS = ("", *FINISH_REASONS, "")
RUNNING, EOS, LENGTH, STOP, LOOP, PAUSED = range(len(REASONS))
_NOWHERE = tf.int32.max


class Stops(NamedTuple):
    """Stop strings as bytes; `S` strings of up to `M` bytes."""

    codes: tf.Tensor  # [B, S, M] uint8, zeros beyond a string's end
    lengths: tf.Tensor  # [B, S] int32, 0 = no string


def parse_stops(stop: tf.Tensor) -> Stops:
    """Splits `[B]` strings at the separator."""
    strings = tf.strings.split(stop, SEPARATOR).to_tensor("")  # --> [B, S]
    lengths = tf.strings.length(strings)
    longest = tf.maximum(tf.reduce_max(lengths), 1)
    return Stops(tf.io.decode_raw(strings, tf.uint8, fixed_length=longest), lengths)


def first_match(texts: tf.Tensor, stops: Stops) -> tf.Tensor:
    """The byte at which a row's earliest stop string begins, or the largest int32 if there is
    none.

    Args:
      texts: `[B]` string.
      stops: of the rows.

    Returns:
      `[B]` int32.
    """
    width = tf.maximum(tf.reduce_max(tf.strings.length(texts)), 1)
    size = tf.shape(stops.codes)[2]
    codes = tf.io.decode_raw(texts, tf.uint8, fixed_length=width + size)  # --> [B, L + M]
    starts = tf.range(width)
    windows = tf.gather(codes, starts[:, tf.newaxis] + tf.range(size), axis=1)  # --> [B, L, M]
    beyond = tf.range(size) >= stops.lengths[:, :, tf.newaxis]  # --> [B, S, M]
    same = tf.equal(windows[:, tf.newaxis], stops.codes[:, :, tf.newaxis])  # --> [B, S, L, M]
    found = tf.reduce_all(same | beyond[:, :, tf.newaxis], axis=-1)  # --> [B, S, L]
    ends = starts + stops.lengths[:, :, tf.newaxis]
    found &= (stops.lengths[:, :, tf.newaxis] > 0) & (
        ends <= tf.strings.length(texts)[:, tf.newaxis, tf.newaxis]
    )
    return tf.reduce_min(tf.where(found, starts, _NOWHERE), axis=[1, 2])


def holds_stop(texts: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
    """Returns whether a text contains a stop string. `[B]` string, `[B]` string of stop strings
    -> `[B]` bool.

    One string after the other, so that memory is that of the texts, however long they are.
    """
    strings = tf.strings.split(stop, SEPARATOR)
    wanted = tf.not_equal(strings.flat_values, "")

    def look() -> tf.Tensor:
        pairs = tf.repeat(texts, strings.row_lengths()), strings.flat_values
        found = tf.map_fn(lambda pair: _holds(*pair), pairs, fn_output_signature=tf.bool)
        return tf.reduce_any(strings.with_flat_values(found & wanted), axis=1)

    asked = tf.reduce_any(tf.not_equal(texts, "") & tf.not_equal(stop, ""))
    return tf.cond(asked, look, lambda: tf.zeros(tf.shape(texts), tf.bool))


def _holds(text: tf.Tensor, string: tf.Tensor) -> tf.Tensor:
    return tf.size(tf.strings.split(text, string, maxsplit=1)) > 1


def common_prefix(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The number of leading bytes that two texts share. `[B]`, `[B]` string -> `[B]` int32."""
    shorter = tf.minimum(tf.strings.length(left), tf.strings.length(right))
    width = tf.maximum(tf.reduce_max(shorter), 1)
    left, right = (tf.io.decode_raw(x, tf.uint8, fixed_length=width) for x in (left, right))
    differ = tf.where(tf.not_equal(left, right), tf.range(width), width)  # --> [B, L]
    return tf.minimum(tf.reduce_min(differ, axis=-1), shorter)


def cut(before: tf.Tensor, after: tf.Tensor, stops: Stops) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks for stop strings in a text that has grown, and takes away the earliest one and what
    follows it.

    Only the part that a new match can touch is searched. Both texts are compared as a whole, and
    the caller makes the
    whole text again of all its tokens, so a text's cost does grow with its square: which tokens may
    be made text by themselves only a tokenizer knows. A token may change the end of the text before
    it (half a character becomes a whole one), hence the common prefix.

    Args:
      before: `[B]` string, without a stop string.
      after: `[B]` string.
      stops: of the rows.

    Returns:
      `[B]` string, `[B]` bool whether a stop string was found.
    """
    longest = tf.reduce_max(stops.lengths, axis=-1)
    start = tf.maximum(common_prefix(before, after) - longest + 1, 0)
    start = tf.minimum(start, tf.strings.length(after))
    everything = tf.fill(tf.shape(start), _NOWHERE)
    match = first_match(tf.strings.substr(after, start, everything), stops)
    found = tf.not_equal(match, _NOWHERE)
    return tf.strings.substr(
        after, tf.zeros_like(start), tf.where(found, start + match, _NOWHERE)
    ), found


def held_back(texts: tf.Tensor, stops: Stops) -> tf.Tensor:
    """How many bytes at the end of a text may yet prove to be a stop string's first: `[B]` int32.

    Args:
      texts: `[B]` string, without a stop string.
      stops: of the rows.
    """
    size = tf.shape(stops.codes)[2]
    lengths = tf.minimum(tf.strings.length(texts), size)  # of the ends that are looked at
    ends = tf.strings.substr(texts, -lengths, lengths)
    codes = tf.io.decode_raw(ends, tf.uint8, fixed_length=size)  # --> [B, M]
    count = tf.range(1, size + 1)
    places = tf.range(size)
    at = (
        lengths[:, tf.newaxis, tf.newaxis] - count[:, tf.newaxis] + places
    )  # the last `count` bytes
    last = tf.gather(codes, tf.clip_by_value(at, 0, size - 1), batch_dims=1)  # --> [B, M counts, M]
    same = tf.equal(last[:, tf.newaxis], stops.codes[:, :, tf.newaxis]) | (
        places >= count[:, tf.newaxis]
    )
    possible = (count < stops.lengths[:, :, tf.newaxis]) & (
        count <= lengths[:, tf.newaxis, tf.newaxis]
    )
    begins = tf.reduce_all(same, axis=-1) & possible  # --> [B, S, M counts]
    return tf.reduce_max(tf.where(begins, count, 0), axis=[1, 2])


def recount_repeats(repeats: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """The counts, `[B, R]` int32 and 0 before the first token, after all of `tokens` (`[B, N]`
    int32).
    """
    steps = tf.where(tf.shape(repeats)[1] > 0, tf.shape(tokens)[1], 0)
    return tf.while_loop(
        lambda last, _: last < steps,
        lambda last, counts: (last + 1, count_repeats(counts, tokens, last)),
        (tf.constant(0), repeats),
    )[1]


def count_repeats(repeats: tf.Tensor, tokens: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """How many of a row's last tokens equal, one after the other, the token so many places before
    them.

    Args:
      repeats: `[B, R]` int32, the counts before the last token; column `p - 1` is of `p` places.
      tokens: `[B, N]` int32.
      last: scalar int32, the column of the last token.

    Returns:
      `[B, R]` int32.
    """
    before = last - 1 - tf.range(tf.shape(repeats)[1])
    earlier = tf.gather(tokens, tf.maximum(before, 0), axis=1)
    same = tf.equal(earlier, tokens[:, last, tf.newaxis]) & (before >= 0)
    return tf.where(same, repeats + 1, 0)


def is_loop(repeats: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """Returns whether the same tokens are at the end of a row `times` (`[B]` int32) in a row; never
    where that is below 2.

    A text that repeats itself is the commonest failure of greedy and of narrow decoding, and it
    never ends by itself: each repetition makes the next more probable.

    Reference: Holtzman et al. (2020), The curious case of neural text degeneration, section 4.1.
    """
    period = 1 + tf.range(tf.shape(repeats)[1])
    more = times[:, tf.newaxis] - 1
    return tf.reduce_any((more > 0) & (repeats // period >= more), axis=1)
