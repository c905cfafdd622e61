"""The end of a row: by the end token, the number of tokens, a stop string, or a loop."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.parameter_table import SEPARATOR

FINISH_REASONS = ("eos", "length", "stop", "loop")
REASONS = ("", *FINISH_REASONS, "")
RUNNING, EOS, LENGTH, STOP, LOOP, PAUSED = range(len(REASONS))
_NOWHERE = tf.int32.max


class Stops(NamedTuple):
    """Stop strings as bytes; `S` strings of up to `M` bytes.

    Attributes:
      codes: `[B, S, M]` uint8, zeros beyond a string's end.
      lengths: `[B, S]` int32, 0 is no string.
    """

    codes: tf.Tensor
    lengths: tf.Tensor


def parse_stops(stop: tf.Tensor) -> Stops:
    """Splits `[B]` strings at the separator."""
    # --> [B, S]
    strings = tf.strings.split(stop, SEPARATOR).to_tensor("")
    lengths = tf.strings.length(strings)
    longest = tf.maximum(tf.reduce_max(lengths), 1)
    return Stops(tf.io.decode_raw(strings, tf.uint8, fixed_length=longest), lengths)


def first_match(texts: tf.Tensor, stops: Stops) -> tf.Tensor:
    """The byte at which a row's earliest stop string begins, or the largest int32 without one.

    Args:
      texts: `[B]` string.
      stops: of the rows.

    Returns:
      `[B]` int32.
    """
    text_lengths = tf.strings.length(texts)
    width = tf.maximum(tf.reduce_max(text_lengths), 1)
    size = tf.shape(stops.codes)[2]
    stop_lengths = stops.lengths[:, :, tf.newaxis]
    # --> [B, L + M]
    codes = tf.io.decode_raw(texts, tf.uint8, fixed_length=width + size)
    starts = tf.range(width)
    # --> [B, L, M]
    windows = tf.gather(codes, starts[:, tf.newaxis] + tf.range(size), axis=1)
    # --> [B, S, M]
    beyond = tf.range(size) >= stop_lengths
    # --> [B, S, L, M]
    same = tf.equal(windows[:, tf.newaxis], stops.codes[:, :, tf.newaxis])
    # --> [B, S, L]
    found = tf.reduce_all(same | beyond[:, :, tf.newaxis], axis=-1)
    is_within = starts + stop_lengths <= text_lengths[:, tf.newaxis, tf.newaxis]
    found &= (stop_lengths > 0) & is_within
    return tf.reduce_min(tf.where(found, starts, _NOWHERE), axis=[1, 2])


def holds_stop(texts: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
    """Returns whether a text contains a stop string. `[B]` string, `[B]` string of stop strings
    -> `[B]` bool.

    One string after the other, so that memory is that of the texts, however long they are.
    """
    strings = tf.strings.split(stop, SEPARATOR)
    wanted = tf.not_equal(strings.flat_values, "")

    def contains(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        text, string = pair
        return tf.size(tf.strings.split(text, string, maxsplit=1)) > 1

    def look() -> tf.Tensor:
        pairs = (tf.repeat(texts, strings.row_lengths()), strings.flat_values)
        found = tf.map_fn(contains, pairs, fn_output_signature=tf.bool)
        return tf.reduce_any(strings.with_flat_values(found & wanted), axis=1)

    def skip() -> tf.Tensor:
        return tf.zeros(tf.shape(texts), tf.bool)

    has_both = tf.not_equal(texts, "") & tf.not_equal(stop, "")
    return tf.cond(tf.reduce_any(has_both), look, skip)


def common_prefix(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The number of leading bytes that two texts share. `[B]`, `[B]` string -> `[B]` int32."""
    shorter = tf.minimum(tf.strings.length(left), tf.strings.length(right))
    width = tf.maximum(tf.reduce_max(shorter), 1)
    left = tf.io.decode_raw(left, tf.uint8, fixed_length=width)
    right = tf.io.decode_raw(right, tf.uint8, fixed_length=width)
    # --> [B, L]
    differ = tf.where(tf.not_equal(left, right), tf.range(width), width)
    return tf.minimum(tf.reduce_min(differ, axis=-1), shorter)


def cut(before: tf.Tensor, after: tf.Tensor, stops: Stops) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks for stop strings in a text that has grown, and takes away the earliest one and what
    follows it.

    Only the part that a new match can touch is searched. Both texts are compared as a whole, and
    the caller detokenizes all tokens again, so that the cost of a text grows with its square: only
    a tokenizer knows which tokens are text by themselves. A token may change the end of the text
    before it (half a character becomes a whole one), hence the common prefix.

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
    searched = tf.strings.substr(after, start, everything)
    match = first_match(searched, stops)
    found = tf.not_equal(match, _NOWHERE)
    end = tf.where(found, start + match, _NOWHERE)
    return tf.strings.substr(after, tf.zeros_like(start), end), found


def held_back(texts: tf.Tensor, stops: Stops) -> tf.Tensor:
    """Number of bytes at the end of a text that may start a stop string: `[B]` int32.

    Args:
      texts: `[B]` string, without a stop string.
      stops: of the rows.
    """
    size = tf.shape(stops.codes)[2]
    # Only the last bytes of a text matter.
    lengths = tf.minimum(tf.strings.length(texts), size)
    ends = tf.strings.substr(texts, -lengths, lengths)
    lengths = lengths[:, tf.newaxis, tf.newaxis]
    # --> [B, M]
    codes = tf.io.decode_raw(ends, tf.uint8, fixed_length=size)
    count = tf.range(1, size + 1)
    places = tf.range(size)
    # The last `count` bytes, for each count: [B, M, M].
    at = lengths - count[:, tf.newaxis] + places
    last = tf.gather(codes, tf.clip_by_value(at, 0, size - 1), batch_dims=1)
    same = tf.equal(last[:, tf.newaxis], stops.codes[:, :, tf.newaxis])
    same |= places >= count[:, tf.newaxis]
    is_part = count < stops.lengths[:, :, tf.newaxis]
    is_there = count <= lengths
    # --> [B, S, M]
    begins = tf.reduce_all(same, axis=-1) & is_part & is_there
    return tf.reduce_max(tf.where(begins, count, 0), axis=[1, 2])


def recount_repeats(repeats: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """The counts after several tokens.

    Args:
      repeats: `[B, R]` int32, the counts before them.
      tokens: `[B, N]` int32.
    """
    steps = tf.where(tf.shape(repeats)[1] > 0, tf.shape(tokens)[1], 0)

    def continues(last: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        return last < steps

    def count(last: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return last + 1, count_repeats(counts, tokens, last)

    _, counts = tf.while_loop(continues, count, (tf.constant(0), repeats))
    return counts


def count_repeats(repeats: tf.Tensor, tokens: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Number of a row's last tokens that equal the token some places before them.

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
    """Returns whether the end of a row is the same tokens `times` (`[B]` int32) in a row; `times`
    below 2 is never.

    A text that repeats itself is the commonest failure of greedy and of narrow decoding, and it
    never ends by itself: each repetition makes the next more probable.

    Reference: Holtzman et al. (2020), The curious case of neural text degeneration, section 4.1.
    """
    period = 1 + tf.range(tf.shape(repeats)[1])
    more = times[:, tf.newaxis] - 1
    is_repeated = repeats // period >= more
    return tf.reduce_any((more > 0) & is_repeated, axis=1)
