"""Words as tokens: those that are banned, forced or allowed in each row, and where these
contradict each other.

Words come as text with the parameters (`Parameters.banned` and the like) and are tokenized in the
graph, by whoever knows a tokenizer. If no row has any, the tensors have no columns and nothing
is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.parameter_table import SEPARATOR
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.stopping import holds_stop

_TOO_FEW_TOKENS = (
    "invalid max_new_tokens: expected enough for the tokens of forced and forced_prefix"
)

Tokenize = Callable[[tf.Tensor], tf.RaggedTensor]


class Words(NamedTuple):
    """`K` words of up to `M` tokens."""

    tokens: tf.Tensor  # [B, K, M] int32, -1 beyond a word's end
    lengths: tf.Tensor  # [B, K] int32, 0 = no word


class Constraints(NamedTuple):
    """The words of each row."""

    banned: Words
    allowed: tf.Tensor  # [B, V] bool, or [B, 0] if all rows allow all tokens
    forced: Words
    prefix: tf.Tensor  # [B, Q] int32, -1 beyond a prefix' end; the first tokens of the continuation


def no_constraints(rows: tf.Tensor | int) -> Constraints:
    """Nothing banned, nothing forced, everything allowed in each of `rows` rows."""
    nothing = Words(tf.zeros([rows, 0, 0], tf.int32), tf.zeros([rows, 0], tf.int32))
    return Constraints(
        nothing, tf.zeros([rows, 0], tf.bool), nothing, tf.zeros([rows, 0], tf.int32)
    )


def parse(
    parameters: Parameters, tokenize: Tokenize, *, vocabulary_size: int, unk_id: int
) -> tuple[Constraints, tf.Tensor]:
    """Tokenizes the words of the rows.

    A banned word is banned in two spellings, as it is and with a space before it, since most
    tokenizers know a word by the space before it. A word with an unknown token
    is never written, so it need not be banned and cannot be forced. Whether a banned word is in
    what must be written is judged by their tokens, as the ban is.

    Args:
      parameters: of the rows, within the bounds that `parameters.sanitize` checks.
      tokenize: `[N]` string -> `[N, None]` int32.
      vocabulary_size: `V`.
      unk_id: the token of what the vocabulary has not.

    Returns:
      The constraints, none in bad rows, and `[B]` string: what is wrong with a row, or "".
    """
    none = no_constraints(tf.shape(parameters.banned)[0])
    banned, _ = _if_any(
        parameters.banned, lambda x: _words(x, tokenize, unk_id, ("", " ")), none.banned
    )
    forced, foreign = _if_any(
        parameters.forced, lambda x: _words(x, tokenize, unk_id, ("",)), none.forced
    )
    allowed, no_token = _if_any(
        parameters.allowed, lambda x: _allowed(x, tokenize, vocabulary_size, unk_id), none.allowed
    )
    room = parameters.max_new_tokens
    prefix, foreign_prefix = _if_any(
        parameters.forced_prefix, lambda x: _prefix(x, tokenize, unk_id, room), none.prefix
    )
    constraints = Constraints(banned, allowed, forced, prefix)
    problems = {
        "invalid forced: expected words that the vocabulary has": foreign,
        "invalid allowed: expected text that the vocabulary has": no_token,
        "invalid forced_prefix: expected text that the vocabulary has": foreign_prefix,
        _TOO_FEW_TOKENS: needed_tokens(constraints) > room,
        **_contradictions(parameters, constraints),
    }
    error = tf.fill(tf.shape(parameters.seed), "")
    for text, wrong in reversed(problems.items()):
        error = tf.where(wrong, text, error)
    return _free_where(tf.not_equal(error, ""), constraints), error


def needed_tokens(constraints: Constraints) -> tf.Tensor:
    """How many tokens must be written, `[B]` int32."""
    prefix = tf.reduce_sum(tf.cast(constraints.prefix >= 0, tf.int32), axis=1)
    return prefix + tf.reduce_sum(constraints.forced.lengths, axis=1)


def ends_with(
    words: Words, tokens: tf.Tensor, start: tf.Tensor, end: tf.Tensor, dropped: int
) -> tf.Tensor:
    """Whether a row's sequence ends with a word, but for the word's last `dropped` tokens.

    Args:
      words: `[B, K, M]`.
      tokens: `[B, N]` int32.
      start: `[B]` int32, the first column that counts.
      end: scalar int32, the column behind the last one that counts.
      dropped: 0, or 1: whether any token after the end would make it the whole word.

    Returns:
      `[B, K]` bool.
    """
    lengths = tf.maximum(words.lengths - dropped, 0)
    places = tf.range(tf.shape(words.tokens)[2])
    first = end - lengths  # --> [B, K]
    columns = tf.clip_by_value(
        first[:, :, tf.newaxis] + places, 0, tf.maximum(tf.shape(tokens)[1] - 1, 0)
    )
    same = tf.equal(tf.gather(tokens, columns, batch_dims=1), words.tokens) | (
        places >= lengths[:, :, tf.newaxis]
    )
    return tf.reduce_all(same, axis=-1) & (words.lengths > 0) & (first >= start[:, tf.newaxis])


def contain(words: Words, tokens: tf.Tensor) -> tf.Tensor:
    """Returns whether a word occurs in the tokens of a row.

    `[B, K, M]`, `[B, N]` int32 -> `[B]` bool.
    """
    return tf.reduce_any(contained(words, tokens), axis=1)


def contained(words: Words, tokens: tf.Tensor) -> tf.Tensor:
    """Returns which words occur in the tokens of a row.

    `[B, K, M]`, `[B, N]` int32 -> `[B, K]` bool.
    """
    start = tf.zeros(tf.shape(tokens)[:1], tf.int32)

    def look(end: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return end + 1, found | ends_with(words, tokens, start, end, dropped=0)

    last = tf.where(tf.reduce_any(words.lengths > 0), tf.shape(tokens)[1], 0)
    return tf.while_loop(lambda end, _: end <= last, look, (tf.constant(1), words.lengths < 0))[1]


def _contradictions(parameters: Parameters, constraints: Constraints) -> dict[str, tf.Tensor]:
    """Returns contradiction of a row's constraints -> `[B]` bool, the rows that have it."""
    banned, allowed, forced, prefix = constraints
    between = tf.pad(
        forced.tokens, [[0, 0], [0, 0], [0, 1]], constant_values=-1
    )  # no word reaches into the next one
    forced_tokens = tf.reshape(
        between, [tf.shape(between)[0], tf.reduce_prod(tf.shape(between)[1:])]
    )
    stop = parameters.stop
    return {
        "invalid forced: expected no word of banned in it": contain(banned, forced_tokens),
        "invalid forced_prefix: expected no word of banned in it": contain(banned, prefix),
        "invalid allowed: expected a token that is not banned": _nothing_left(allowed, banned),
        "invalid forced: expected no string of stop in it": holds_stop(parameters.forced, stop),
        "invalid forced_prefix: expected no string of stop in it": holds_stop(
            parameters.forced_prefix, stop
        ),
    }


def _nothing_left(allowed: tf.Tensor, banned: Words) -> tf.Tensor:
    """Rows in which each allowed token is a banned word by itself, `[B]` bool."""

    def look() -> tf.Tensor:
        alone = tf.where(tf.equal(banned.lengths, 1), banned.tokens[:, :, 0] + 1, 0)  # 0 is none
        size = tf.shape(allowed)[1] + 1
        taken = (
            tf.math.bincount(alone, minlength=size, maxlength=size, axis=-1, binary_output=True)[
                :, 1:
            ]
            > 0
        )
        return ~tf.reduce_any(allowed & ~taken, axis=1)

    asked = (tf.shape(allowed)[1] > 0) & tf.reduce_any(tf.equal(banned.lengths, 1))
    return tf.cond(asked, look, lambda: tf.zeros(tf.shape(allowed)[:1], tf.bool))


def _free_where(rows: tf.Tensor, constraints: Constraints) -> Constraints:
    """Takes the constraints from some rows, `[B]` bool."""
    rows = rows[:, tf.newaxis]
    banned, allowed, forced, prefix = constraints
    return Constraints(
        banned._replace(lengths=tf.where(rows, 0, banned.lengths)),
        allowed | rows,
        forced._replace(lengths=tf.where(rows, 0, forced.lengths)),
        tf.where(rows, -1, prefix),
    )


def _if_any(
    texts: tf.Tensor, make: Callable[[tf.Tensor], tuple], nothing: tf.Tensor | Words
) -> tuple:
    """Returns the result of `make` for the texts, with `[B]` bool of bad rows, or `nothing` if no
    row has any.
    """
    return tf.cond(
        tf.reduce_any(tf.not_equal(texts, "")),
        lambda: make(texts),
        lambda: (nothing, tf.zeros(tf.shape(texts), tf.bool)),
    )


def _words(
    joined: tf.Tensor, tokenize: Tokenize, unk_id: int, before: tuple[str, ...]
) -> tuple[Words, tf.Tensor]:
    """The words in each spelling, and the rows in which one is unknown."""
    strings = tf.strings.split(joined, SEPARATOR)
    spellings = tf.concat(
        [strings.with_flat_values(tf.strings.join([b, strings.flat_values])) for b in before],
        axis=1,
    )
    tokens = spellings.with_flat_values(tokenize(spellings.flat_values))
    wanted = tf.not_equal(tf.repeat(joined, spellings.row_lengths()), "")
    known = ~tf.reduce_any(tf.equal(tokens.values, unk_id), axis=1) & (
        tokens.values.row_lengths() > 0
    )
    lengths = tf.cast(tokens.values.row_lengths(), tf.int32) * tf.cast(known & wanted, tf.int32)
    unknown = tf.reduce_any(spellings.with_flat_values(wanted & ~known), axis=1)
    return Words(tokens.to_tensor(-1), spellings.with_flat_values(lengths).to_tensor(0)), unknown


def _allowed(
    joined: tf.Tensor, tokenize: Tokenize, vocabulary_size: int, unk_id: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The tokens of the texts, all of them in rows without a text, and the rows in which there are
    none.
    """
    strings = tf.strings.split(joined, SEPARATOR)
    tokens = tokenize(strings.flat_values)
    rows = tf.gather(tf.cast(strings.value_rowids(), tf.int32), tokens.value_rowids())
    known = tf.cast(tf.not_equal(tokens.flat_values, unk_id), tf.int32)
    places = tf.stack([rows, tokens.flat_values], axis=1)
    named = tf.scatter_nd(places, known, [tf.shape(joined)[0], vocabulary_size]) > 0
    free = tf.equal(joined, "")
    return named | free[:, tf.newaxis], ~free & ~tf.reduce_any(named, axis=1)


def _prefix(
    texts: tf.Tensor, tokenize: Tokenize, unk_id: int, room: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The tokens of the texts, one more at the most than the longest `room` (`[B]` int32), and the
    bad rows.
    """
    tokens = tokenize(texts)
    foreign = tf.reduce_any(tf.equal(tokens, unk_id), axis=1)
    return tokens.to_tensor(-1)[:, : tf.reduce_max(room) + 1], foreign | (
        tf.not_equal(texts, "") & tf.equal(tokens.row_lengths(), 0)
    )
