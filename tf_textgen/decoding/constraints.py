"""Words as tokens: those that are banned, forced or allowed in each row, and contradictions.

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
    """`K` words of up to `M` tokens.

    Attributes:
      tokens: `[B, K, M]` int32, -1 beyond a word's end.
      lengths: `[B, K]` int32, 0 is no word.
    """

    tokens: tf.Tensor
    lengths: tf.Tensor


class Constraints(NamedTuple):
    """The words of each row.

    Attributes:
      banned: words that are not generated.
      allowed: `[B, V]` bool, or `[B, 0]` if all rows allow all tokens.
      forced: words that the continuation contains.
      prefix: `[B, Q]` int32, the first tokens of the continuation, -1 beyond its end.
    """

    banned: Words
    allowed: tf.Tensor
    forced: Words
    prefix: tf.Tensor


def no_constraints(rows: tf.Tensor | int) -> Constraints:
    """Nothing banned, nothing forced, everything allowed in each of `rows` rows."""
    no_words = Words(
        tokens=tf.zeros([rows, 0, 0], tf.int32),
        lengths=tf.zeros([rows, 0], tf.int32),
    )
    return Constraints(
        banned=no_words,
        allowed=tf.zeros([rows, 0], tf.bool),
        forced=no_words,
        prefix=tf.zeros([rows, 0], tf.int32),
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
      unk_id: the token of unknown text.

    Returns:
      The constraints, without those of bad rows, and `[B]` string, the error of a row, or "".
    """
    empty = no_constraints(tf.shape(parameters.banned)[0])
    room = parameters.max_new_tokens

    def ban(texts: tf.Tensor) -> tuple[Words, tf.Tensor]:
        return _words(texts, tokenize, unk_id, ("", " "))

    def force(texts: tf.Tensor) -> tuple[Words, tf.Tensor]:
        return _words(texts, tokenize, unk_id, ("",))

    def allow(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _allowed(texts, tokenize, vocabulary_size, unk_id)

    def start(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _prefix(texts, tokenize, unk_id, room)

    banned, _ = _if_any(parameters.banned, ban, empty.banned)
    forced, foreign = _if_any(parameters.forced, force, empty.forced)
    allowed, no_token = _if_any(parameters.allowed, allow, empty.allowed)
    prefix, foreign_prefix = _if_any(parameters.forced_prefix, start, empty.prefix)
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
    """Number of tokens that must be written, `[B]` int32."""
    prefix = tf.reduce_sum(tf.cast(constraints.prefix >= 0, tf.int32), axis=1)
    forced = tf.reduce_sum(constraints.forced.lengths, axis=1)
    return prefix + forced


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
    # --> [B, K]
    first = end - lengths
    last_column = tf.maximum(tf.shape(tokens)[1] - 1, 0)
    columns = tf.clip_by_value(first[:, :, tf.newaxis] + places, 0, last_column)
    same = tf.equal(tf.gather(tokens, columns, batch_dims=1), words.tokens)
    is_beyond = places >= lengths[:, :, tf.newaxis]
    matches = tf.reduce_all(same | is_beyond, axis=-1)
    has_room = first >= start[:, tf.newaxis]
    return matches & (words.lengths > 0) & has_room


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
    has_words = tf.reduce_any(words.lengths > 0)
    last = tf.where(has_words, tf.shape(tokens)[1], 0)

    def continues(end: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return end <= last

    def look(end: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return end + 1, found | ends_with(words, tokens, start, end, dropped=0)

    nothing_found = words.lengths < 0
    _, found = tf.while_loop(continues, look, (tf.constant(1), nothing_found))
    return found


def _contradictions(parameters: Parameters, constraints: Constraints) -> dict[str, tf.Tensor]:
    """Returns contradiction of a row's constraints -> `[B]` bool, the rows that have it."""
    banned = constraints.banned
    prefix = constraints.prefix
    # With a place between two words, no banned word reaches from one into the next.
    forced = tf.pad(constraints.forced.tokens, [[0, 0], [0, 0], [0, 1]], constant_values=-1)
    columns = tf.reduce_prod(tf.shape(forced)[1:])
    forced = tf.reshape(forced, [tf.shape(forced)[0], columns])
    nothing_left = _nothing_left(constraints.allowed, banned)
    stop = parameters.stop
    has_stop = holds_stop(parameters.forced, stop)
    prefix_has_stop = holds_stop(parameters.forced_prefix, stop)
    return {
        "invalid forced: expected no word of banned in it": contain(banned, forced),
        "invalid forced_prefix: expected no word of banned in it": contain(banned, prefix),
        "invalid allowed: expected a token that is not banned": nothing_left,
        "invalid forced: expected no string of stop in it": has_stop,
        "invalid forced_prefix: expected no string of stop in it": prefix_has_stop,
    }


def _nothing_left(allowed: tf.Tensor, banned: Words) -> tf.Tensor:
    """Rows in which each allowed token is a banned word by itself, `[B]` bool."""

    is_single = tf.equal(banned.lengths, 1)

    def look() -> tf.Tensor:
        # 0 counts the words of several tokens.
        numbers = tf.where(is_single, banned.tokens[:, :, 0] + 1, 0)
        size = tf.shape(allowed)[1] + 1
        counts = tf.math.bincount(
            numbers, minlength=size, maxlength=size, axis=-1, binary_output=True
        )
        taken = counts[:, 1:] > 0
        return ~tf.reduce_any(allowed & ~taken, axis=1)

    def skip() -> tf.Tensor:
        return tf.zeros(tf.shape(allowed)[:1], tf.bool)

    has_allowed = tf.shape(allowed)[1] > 0
    return tf.cond(has_allowed & tf.reduce_any(is_single), look, skip)


def _free_where(rows: tf.Tensor, constraints: Constraints) -> Constraints:
    """Takes the constraints from some rows, `[B]` bool."""
    rows = rows[:, tf.newaxis]
    banned = constraints.banned
    forced = constraints.forced
    return Constraints(
        banned=banned._replace(lengths=tf.where(rows, 0, banned.lengths)),
        allowed=constraints.allowed | rows,
        forced=forced._replace(lengths=tf.where(rows, 0, forced.lengths)),
        prefix=tf.where(rows, -1, constraints.prefix),
    )


def _if_any(
    texts: tf.Tensor, make: Callable[[tf.Tensor], tuple], nothing: tf.Tensor | Words
) -> tuple:
    """Returns the result of `make` for the texts, with `[B]` bool of bad rows, or `nothing` if no
    row has any.
    """

    def skip() -> tuple:
        return nothing, tf.zeros(tf.shape(texts), tf.bool)

    return tf.cond(tf.reduce_any(tf.not_equal(texts, "")), lambda: make(texts), skip)


def _words(
    joined: tf.Tensor, tokenize: Tokenize, unk_id: int, before: tuple[str, ...]
) -> tuple[Words, tf.Tensor]:
    """The words in each spelling, and the rows in which one is unknown."""
    strings = tf.strings.split(joined, SEPARATOR)
    spellings = []
    for characters in before:
        spelled = tf.strings.join([characters, strings.flat_values])
        spellings.append(strings.with_flat_values(spelled))
    texts = tf.concat(spellings, axis=1)
    tokens = tokenize(texts.flat_values)
    wanted = tf.not_equal(tf.repeat(joined, texts.row_lengths()), "")
    lengths = tf.cast(tokens.row_lengths(), tf.int32)
    known = ~tf.reduce_any(tf.equal(tokens, unk_id), axis=1) & (lengths > 0)
    lengths = tf.where(known & wanted, lengths, 0)
    unknown = tf.reduce_any(texts.with_flat_values(wanted & ~known), axis=1)
    words = Words(
        tokens=texts.with_flat_values(tokens).to_tensor(-1),
        lengths=texts.with_flat_values(lengths).to_tensor(0),
    )
    return words, unknown


def _allowed(
    joined: tf.Tensor, tokenize: Tokenize, vocabulary_size: int, unk_id: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The tokens of the texts (all tokens in rows without a text), and the rows without a token."""
    strings = tf.strings.split(joined, SEPARATOR)
    tokens = tokenize(strings.flat_values)
    row_of_string = tf.cast(strings.value_rowids(), tf.int32)
    rows = tf.gather(row_of_string, tokens.value_rowids())
    known = tf.cast(tf.not_equal(tokens.flat_values, unk_id), tf.int32)
    places = tf.stack([rows, tokens.flat_values], axis=1)
    counts = tf.scatter_nd(places, known, [tf.shape(joined)[0], vocabulary_size])
    named = counts > 0
    free = tf.equal(joined, "")
    has_token = tf.reduce_any(named, axis=1)
    return named | free[:, tf.newaxis], ~free & ~has_token


def _prefix(
    texts: tf.Tensor, tokenize: Tokenize, unk_id: int, room: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The tokens of the texts, at most one more than the longest `room` (`[B]` int32), and the bad
    rows.
    """
    tokens = tokenize(texts)
    most = tf.reduce_max(room) + 1
    is_foreign = tf.reduce_any(tf.equal(tokens, unk_id), axis=1)
    is_lost = tf.not_equal(texts, "") & tf.equal(tokens.row_lengths(), 0)
    return tokens.to_tensor(-1)[:, :most], is_foreign | is_lost
