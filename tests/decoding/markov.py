"""A toy model with an alphabet for its vocabulary, and the plain NumPy decoder it is judged by.

The next token depends on the last one, on a salt (the sum of the prompt) and on the number of steps, all carried in the
state: a state that strays from its row changes the text.
"""

import numpy as np
import tensorflow as tf

from tf_textgen.decoding import loop
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import DTYPES, Parameters

PAD, UNK, BOS, EOS, SEP = range(5)
BANNED = (PAD, UNK, BOS, SEP)
PIECES = ["", "", "", "", "", "a", "b", "ab", "ba", "c", "字", "", "\x00", "é", "cab", " "]


class Markov:
    """Logits are a row of a table; ids past the alphabet show as "a"."""

    def __init__(self, vocabulary_size=16, seed=0, spread=2.0, bound=40, eager=False):
        self.size, self.bound, self.traces = vocabulary_size, bound, 0
        self.table = (np.random.default_rng(seed).normal(size=(vocabulary_size,) * 2) * spread).astype("float32")
        self.pieces = [p.encode() for p in (PIECES + ["a"] * vocabulary_size)[:vocabulary_size]]
        shapes = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
        signature = [*shapes, Parameters(*(tf.TensorSpec([None], dtype) for dtype in DTYPES))]
        traced = tf.function(self.decode_eagerly, input_signature=signature)
        self.decode = self.decode_eagerly if eager else traced

    def row(self, token, salt, count):
        return (token + 7 * salt + 3 * count) % self.size

    def decode_eagerly(self, prompts, lengths, parameters):
        self.traces += 1
        table = tf.constant(self.table)
        width = tf.shape(prompts)[1]
        kept = tf.where(tf.range(width) >= width - lengths[:, tf.newaxis], prompts, 0)
        state = {"salt": tf.reduce_sum(kept, axis=-1), "counts": (tf.ones_like(lengths),)}

        def step(tokens, state):
            (count,) = state["counts"]
            logits = tf.gather(table, self.row(tokens, state["salt"], count))
            return logits, {"salt": state["salt"], "counts": (count + 1,)}

        return loop.decode(
            tf.gather(table, self.row(prompts[:, -1], state["salt"], 0)),
            state,
            step,
            parameters,
            prompt_tokens=prompts,
            prompt_lengths=lengths,
            eos_id=EOS,
            banned_ids=BANNED,
            detokenize=self.detokenize,
            max_new_tokens=self.bound,
        )

    def detokenize(self, tokens):
        return tf.strings.reduce_join(tf.gather(tf.constant(self.pieces), tokens), axis=-1)

    def run(self, prompts, configs, pad_to=0):
        """Decodes lists of ids with one `DecodingConfig` each; NumPy arrays."""
        width = max([pad_to, *map(len, prompts)])
        padded = np.array([[PAD] * (width - len(p)) + list(p) for p in prompts], np.int32).reshape(len(prompts), width)
        decoded = self.decode(padded, np.array([len(p) for p in prompts], np.int32), stack(configs))
        return loop.Decoded(*(x.numpy() for x in decoded))

    def expect(self, prompt, config):
        """(tokens, log probabilities, finish reason, text) by the plainest means."""
        salt, last, seen, tokens, scores = sum(prompt), prompt[-1], set(prompt), [], []
        draws = tf.random.stateless_uniform([self.bound], [config.seed, 0], dtype=tf.float64, alg="philox").numpy()
        while True:
            logits = self.table[self.row(last, salt, len(tokens))]
            last = expected_token(logits, seen, len(tokens), draws[len(tokens)], config)
            exact = logits.astype("float64")
            scores.append(exact[last] - np.log(np.exp(exact).sum()))
            tokens.append(last)
            seen.add(last)
            text = b"".join(self.pieces[t] for t in tokens)
            matches = [text.find(s.encode()) for s in config.stop if s.encode() in text]
            if matches:
                return tokens, scores, b"stop", text[: min(matches)]
            if last == EOS:
                return tokens, scores, b"eos", text
            if len(tokens) == config.max_new_tokens:
                return tokens, scores, b"length", text


def expected_token(logits, seen, step, uniform, config):
    """One row's next token: every processor in turn, with a full sort."""
    x = logits.astype("float32").copy()
    for token in seen:
        penalty = np.float32(config.repetition_penalty)
        x[token] = x[token] * penalty if x[token] < 0 else x[token] / penalty
    x[list(BANNED)] = -np.inf
    if step < config.min_new_tokens:
        x[EOS] = -np.inf
    if config.temperature == 0.0:
        return int(np.argmax(x))
    if config.temperature is not None and config.temperature != 1.0:
        x = (x - x.max()) / np.float32(config.temperature)
    if 0 < config.top_k < len(x):
        x[x < np.sort(x)[-config.top_k]] = -np.inf
    if config.top_p < 1.0:
        x[~expected_nucleus(x, config.top_p)] = -np.inf
    if config.min_p > 0.0:
        x[x - x.max() < np.log(config.min_p)] = -np.inf
    cumulative = np.cumsum(np.exp((x - x.max()).astype("float64")))
    return int(np.argmax(cumulative > uniform * cumulative[-1]))


def expected_nucleus(logits, p):
    """`[V]` bool: the most probable tokens, of equals the lower ids, until their mass is at least p."""
    order = np.lexsort((np.arange(len(logits)), -logits))
    mass = np.cumsum(np.exp((logits[order] - logits.max()).astype("float64")))
    count = 1 + np.sum(mass[:-1] < np.float64(np.float32(p)) * mass[-1])
    kept = np.zeros(len(logits), bool)
    kept[order[:count]] = True
    return kept


def stack(configs):
    """`Parameters` of rows with a configuration each."""
    values = {name: [getattr(c, name) for c in configs] for name in Parameters._fields}
    values["temperature"] = [c.resolved_temperature for c in configs]
    values["stop"] = ["\x1f".join(c.stop) for c in configs]
    return Parameters(*(tf.constant(values[n], d) for n, d in zip(Parameters._fields, DTYPES, strict=True)))


def random_configs(rng, number, max_new_tokens=12):
    """Mixed wishes: about every other parameter of a row is neutral."""

    def maybe(value, neutral):
        return value if rng.random() < 0.5 else neutral

    return [
        DecodingConfig(
            temperature=maybe(float(rng.uniform(0.3, 2)), float(rng.integers(0, 2))),
            top_k=maybe(int(rng.integers(1, 20)), 0),
            top_p=maybe(float(rng.uniform(0.05, 1)), 1.0),
            min_p=maybe(float(rng.uniform(0, 0.5)), 0.0),
            repetition_penalty=maybe(float(rng.uniform(0.5, 2)), 1.0),
            min_new_tokens=maybe(int(rng.integers(1, 4)), 0),
            max_new_tokens=int(rng.integers(4, max_new_tokens + 1)),
            stop=maybe(tuple(rng.choice(["abc", "字", "bab", "ca", "\x00a", "é "], int(rng.integers(1, 4)))), ()),
            seed=int(rng.integers(-(2**62), 2**62)),
        )
        for _ in range(number)
    ]
