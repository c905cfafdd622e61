"""Exports that take no time: their texts follow from the prompt by a rule, in signatures as the
real ones have.

A continuation is the letters of `alphabet`, from the seed's on; a prompt that is "fail" fails in
the graph.
"""

from __future__ import annotations

import json
import pathlib

import pytest
import tensorflow as tf

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
DECODING = {
    "beam_width": 1,
    "max_new_tokens": 5,
    "seed": 3,
    "stop": [],
    "temperature": None,
    "top_k": 7,
    "length_penalty": "gnmt",
    "length_penalty_alpha": 0.6,
}
BOUND = 100


def expected(seed: int, tokens: int, alphabet: str = ALPHABET) -> str:
    """The continuation by the rule."""
    return "".join(alphabet[(seed + i) % len(alphabet)] for i in range(tokens))


class _Toy(tf.Module):
    def __init__(self, alphabet: str) -> None:
        super().__init__()
        self._letters = tf.constant(list(alphabet))

    def generate(self, prompt, max_new_tokens, seed, stop, temperature, top_k):
        problem = tf.where(max_new_tokens > BOUND, "invalid max_new_tokens: expected few", "")
        problem = tf.where(
            temperature < 0.0, "invalid temperature: expected a finite value >= 0", problem
        )
        with tf.control_dependencies(
            [tf.debugging.assert_none_equal(prompt, "fail", message="the prompt fails\nhere")]
        ):
            counts = tf.where(problem == "", max_new_tokens, 0)
        places = tf.range(tf.reduce_max(tf.concat([[0], counts], 0)))
        at = (tf.cast(seed, tf.int64)[:, None] + tf.cast(places, tf.int64)) % tf.size(
            self._letters, tf.int64
        )
        present = places < counts[:, None]
        tokens = tf.where(present, tf.gather(self._letters, at), "")
        return {
            "text": tf.strings.reduce_join(tokens, axis=1),
            "score": -0.5 * tf.cast(counts, tf.float32),
            "token_count": counts,
            "finish_reason": tf.where(problem == "", "length", problem),
            "prompt_truncated": tf.strings.length(prompt) > 50,
            "token_log_probabilities": tf.where(present, -0.5, 0.0),
            "token_texts": tokens,
        }

    def generate_chunk(self, state, chunk_tokens, max_new_tokens, **inputs):
        begun = tf.strings.to_number(tf.where(state == "", "0", state), tf.int32)
        wanted = tf.where(
            max_new_tokens > BOUND, max_new_tokens, tf.minimum(begun + chunk_tokens, max_new_tokens)
        )
        answer = self.generate(max_new_tokens=wanted, **inputs)
        answer = {name: value for name, value in answer.items() if not name.startswith("token_t")}
        answer["finished"] = (wanted == max_new_tokens) | (answer["finish_reason"] != "length")
        answer["finish_reason"] = tf.where(answer["finished"], answer["finish_reason"], "")
        return {**answer, "state": tf.strings.as_string(wanted)}

    def beam_search(self, max_new_tokens, length_penalty, length_penalty_alpha, **inputs):
        """The best has one letter less than the second, so that rows have tokens of different
        numbers.
        """
        del length_penalty
        zero = tf.zeros_like(max_new_tokens)
        given = {**inputs, "temperature": tf.cast(zero, tf.float32), "top_k": zero}
        found = [
            self.generate(
                max_new_tokens=max_new_tokens - more,
                seed=tf.cast(zero + 1 - more, tf.int64),
                **given,
            )
            for more in (1, 0)
        ]
        width = tf.shape(found[1]["token_texts"])[1]
        for name, empty in (("token_texts", ""), ("token_log_probabilities", 0.0)):
            narrow = found[0][name]
            found[0][name] = tf.pad(
                narrow, [[0, 0], [0, width - tf.shape(narrow)[1]]], constant_values=empty
            )
        answer = {name: tf.stack([one[name] for one in found], axis=1) for name in found[0]}
        answer["normalized_score"] = answer["score"] / (1.0 + length_penalty_alpha[:, None])
        return {**answer, "prompt_truncated": found[0]["prompt_truncated"]}

    def score(self, text):
        """Every character is a token."""
        tokens = tf.strings.unicode_split(text, "UTF-8")
        counts = tf.cast(tokens.row_lengths(), tf.int32)
        scores = tf.fill(tf.shape(tokens.flat_values), -0.5)
        return {
            "log_probability": -0.5 * tf.cast(counts, tf.float32),
            "token_count": counts,
            "perplexity": tf.where(counts > 0, tf.exp(0.5), float("nan")),
            "token_log_probabilities": tokens.with_flat_values(scores).to_tensor(0.0),
            "token_texts": tokens.to_tensor(""),
            "truncated": tf.zeros_like(counts, tf.bool),
        }

    def generate_text(self, **inputs):
        """As exports did that gave no tokens."""
        answer = self.generate(**inputs)
        return {
            name: answer[name]
            for name in answer.keys() - {"token_texts", "token_log_probabilities"}
        }

    def serving_default(self, text):
        return {"text": text + self._letters[0]}


def toy_folder(tmp_path_factory: pytest.TempPathFactory, name: str, **kinds: bool) -> pathlib.Path:
    """The folder of a served model `name`, with one version as `write_toy` makes it."""
    root = tmp_path_factory.mktemp("toys") / name
    root.mkdir()
    write_toy(root, 1, **kinds)
    return root


def write_toy(
    root: pathlib.Path,
    version: int,
    *,
    alphabet: str = ALPHABET,
    stream: bool = True,
    beam: bool = False,
    earlier: bool = False,
) -> pathlib.Path:
    """A version, written next to and renamed as `export` does; with a beam it maps sources.

    One of an `earlier` version of `export` has neither chunks nor tokens of what it generates.
    """
    toy = _Toy(alphabet)
    text = {"source" if beam else "prompt": tf.string}
    shared = {**text, "max_new_tokens": tf.int32, "stop": tf.string}
    dtypes = {**shared, "seed": tf.int64, "temperature": tf.float32, "top_k": tf.int32}
    wanted = {
        "serving_default": (toy.serving_default, {"text": tf.string}),
        "generate": (toy.generate, dtypes),
    }
    if earlier:
        wanted["generate"] = (toy.generate_text, dtypes)
        wanted["score"] = (toy.score, {"text": tf.string})
    elif stream:
        wanted["generate_chunk"] = (
            toy.generate_chunk,
            {**dtypes, "state": tf.string, "chunk_tokens": tf.int32},
        )
    if beam:
        searching = {**shared, "length_penalty": tf.string, "length_penalty_alpha": tf.float32}
        wanted["beam_search"] = (toy.beam_search, searching)
    signatures = {name: _traced(one, inputs) for name, (one, inputs) in wanted.items()}
    beside = root / f".{version}.writing"
    tf.saved_model.save(toy, str(beside), signatures=signatures)
    (beside / "assets.extra").mkdir()
    decoding = {**DECODING, "beam_width": 2} if beam else DECODING
    (beside / "assets.extra" / "config.json").write_text(json.dumps({"decoding": decoding}))
    return beside.rename(root / str(version))


def _traced(function, dtypes):
    specs = {name: tf.TensorSpec([None], dtype, name) for name, dtype in dtypes.items()}

    def renamed(**inputs):
        text = inputs.pop("source", None)
        return function(**inputs) if text is None else function(prompt=text, **inputs)

    return tf.function(renamed, autograph=False).get_concrete_function(**specs)
