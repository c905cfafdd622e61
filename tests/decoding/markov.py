"""A toy model with an alphabet for its vocabulary, and the plain NumPy decoder it is judged by.

The next token depends on the last one, on a salt (the sum of the prompt) and on the number of
steps, all carried in the
state: a state that strays from its row changes the text.
"""

import numpy as np
import tensorflow as tf

from tf_textgen.decoding import single_search
from tf_textgen.decoding.constraints import parse
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import DTYPES, Parameters
from tf_textgen.decoding.search import SearchInputs

PAD, UNK, BOS, EOS, SEP = range(5)
BANNED = (PAD, UNK, BOS, SEP)
PIECES = ["", "", "", "", "", "a", "b", "ab", "ba", "c", "字", "", "\x00", "é", "cab", " "]


class Markov:
    """Logits are a row of a table; ids past the alphabet show as "a"."""

    def __init__(self, vocabulary_size=16, seed=0, spread=2.0, bound=40, eager=False):
        self.size, self.bound, self.traces = vocabulary_size, bound, 0
        self.table = (
            np.random.default_rng(seed).normal(size=(vocabulary_size,) * 2) * spread
        ).astype("float32")
        self.pieces = [p.encode() for p in (PIECES + ["a"] * vocabulary_size)[:vocabulary_size]]
        shapes = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
        signature = [*shapes, Parameters(*(tf.TensorSpec([None], dtype) for dtype in DTYPES))]
        traced = tf.function(self.decode_eagerly, input_signature=signature, autograph=False)
        self.decode = self.decode_eagerly if eager else traced

    def row(self, token, salt, count):
        return (token + 7 * salt + 3 * count) % self.size

    def decode_eagerly(self, prompts, lengths, parameters):
        self.traces += 1
        width = tf.shape(prompts)[1]
        kept = tf.where(tf.range(width) >= width - lengths[:, tf.newaxis], prompts, 0)
        return self.search(
            prompts, lengths, tf.reduce_sum(kept, axis=-1), tf.zeros_like(lengths), None, parameters
        )

    def search(self, prompts, lengths, salts, counts, paused, parameters):
        """`prompts` end with the tokens of `paused`, `counts` of each row."""
        table = tf.constant(self.table)
        state = {"salt": salts, "counts": (counts + 1,)}

        def step(tokens, state):
            (count,) = state["counts"]
            logits = tf.gather(table, self.row(tokens, state["salt"], count))
            return logits, {"salt": state["salt"], "counts": (count + 1,)}

        constraints, problem = parse(
            parameters, self.tokenize, vocabulary_size=self.size, unk_id=UNK
        )
        tf.debugging.assert_equal(problem, "")
        inputs = SearchInputs(
            parameters=parameters,
            constraints=constraints,
            prompt_tokens=prompts,
            prompt_lengths=lengths,
            max_new_tokens=self.bound,
            eos_id=EOS,
            banned_ids=BANNED,
            detokenize=self.detokenize,
        )
        logits = tf.gather(table, self.row(prompts[:, -1], salts, counts))
        return single_search.decode(logits, state, step, inputs, paused=paused)

    def tokenize(self, texts):
        """Letter by letter; what is no letter of the alphabet is unknown."""
        letters = tf.strings.unicode_split(texts, "UTF-8")
        known = tf.equal(
            letters.flat_values[:, tf.newaxis], tf.constant([p for p in self.pieces[:16]])
        )
        ids = tf.where(
            tf.reduce_any(known, axis=1), tf.argmax(known, axis=1, output_type=tf.int32), UNK
        )
        return letters.with_flat_values(ids)

    def detokenize(self, tokens):
        return tf.strings.reduce_join(tf.gather(tf.constant(self.pieces), tokens), axis=-1)

    def run(self, prompts, configs, pad_to=0):
        """Decodes lists of ids with one `DecodingConfig` each; NumPy arrays."""
        width = max([pad_to, *map(len, prompts)])
        padded = np.array([[PAD] * (width - len(p)) + list(p) for p in prompts], np.int32).reshape(
            len(prompts), width
        )
        decoded = self.decode(padded, np.array([len(p) for p in prompts], np.int32), stack(configs))
        return single_search.Decoded(*(x.numpy() for x in decoded))

    def expect(self, prompt, config):
        """(tokens, log probabilities, finish reason, text) by the plainest means."""
        salt, tokens, scores, writing = sum(prompt), [], [], []
        forced, prefix = [spell(word) for word in config.forced], spell(config.forced_prefix)
        draws = tf.random.stateless_uniform(
            [self.bound], [config.seed, 0], dtype=tf.float64, alg="philox"
        ).numpy()
        while True:
            logits = self.table[self.row([*prompt, *tokens][-1], salt, len(tokens))]
            missing = [word for word in forced if not contains(tokens, word)]
            if len(tokens) < len(prefix):
                writing = [prefix[len(tokens)]]
            elif (
                not writing
                and missing
                and config.max_new_tokens - len(tokens) <= sum(map(len, missing))
            ):
                writing = list(missing[0])
            if not writing:
                chosen = expected_token(logits, prompt, tokens, draws[len(tokens)], config)
                writing = list(missing[0]) if missing and chosen == EOS else [chosen]
            tokens.append(writing.pop(0))
            exact = logits.astype("float64")
            scores.append(exact[tokens[-1]] - np.log(np.exp(exact).sum()))
            text = b"".join(self.pieces[t] for t in tokens)
            matches = [text.find(s.encode()) for s in config.stop if s.encode() in text]
            if matches:
                return tokens, scores, b"stop", text[: min(matches)]
            if tokens[-1] == EOS:
                return tokens, scores, b"eos", text
            if goes_round(tokens, config.loop_repeats):
                return tokens, scores, b"loop", text
            if len(tokens) == config.max_new_tokens:
                return tokens, scores, b"length", text


def spell(text):
    """What `Markov.tokenize` makes of a text."""
    return [PIECES.index(letter) if letter in PIECES else UNK for letter in text]


def contains(tokens, word):
    return any(tokens[i : i + len(word)] == word for i in range(len(tokens)))


def goes_round(tokens, times):
    """Whether the tokens end with some block, `times` times in a row."""
    blocks = [tokens[-size:] for size in range(1, len(tokens) + 1)] if times else []
    return any(tokens[-len(b) * times :] == b * times for b in blocks)


def expected_logits(logits, prompt, tokens, config):
    """The logits of one row's next token, but for what must be written: every processor in turn."""
    x, past = logits.astype("float32").copy(), [int(t) for t in (*prompt, *tokens)]
    for token in {*past}:
        penalty = np.float32(config.repetition_penalty)
        x[token] = x[token] * penalty if x[token] < 0 else x[token] / penalty
    for token in {*tokens}:
        frequency, presence = (
            np.float32(config.frequency_penalty),
            np.float32(config.presence_penalty),
        )
        x[token] -= np.float32(tokens.count(token)) * frequency + presence
    for i in range(len(past) - config.no_repeat_ngram + 1 if config.no_repeat_ngram else 0):
        *first, last = past[i : i + config.no_repeat_ngram]
        if first == past[len(past) - len(first) :]:
            x[last] = -np.inf
    for word in (spell(before + word) for word in config.banned for before in ("", " ")):
        if word[:-1] == past[len(past) - len(word) + 1 :]:
            x[word[-1]] = -np.inf
    x[list(BANNED)] = -np.inf
    if config.allowed:
        x[~np.isin(np.arange(len(x)), [EOS, *spell("".join(config.allowed))])] = -np.inf
    if len(tokens) < config.min_new_tokens:
        x[EOS] = -np.inf
    return x


def expected_token(logits, prompt, tokens, uniform, config):
    """One row's next token, with a full sort."""
    x = expected_logits(logits, prompt, tokens, config)
    if np.isneginf(x).all():
        return EOS
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
    if config.typical_p < 1.0:
        x[~expected_typical(x, config.typical_p)] = -np.inf
    for epsilon, by_entropy in ((config.epsilon_cutoff, False), (config.eta_cutoff, True)):
        if epsilon:
            p = probabilities(x)
            entropy = -np.sum(p[p > 0] * np.log(p[p > 0])) if by_entropy else -np.inf
            x[(p < min(epsilon, np.sqrt(epsilon) * np.exp(-entropy))) & (x < x.max())] = -np.inf
    cumulative = np.cumsum(np.exp((x - x.max()).astype("float64")))
    return int(np.argmax(cumulative > uniform * cumulative[-1]))


def probabilities(logits):
    weights = np.exp((logits - logits.max()).astype("float64"))
    return weights / weights.sum()


def expected_typical(logits, mass):
    """`[V]` bool: the tokens whose surprise is nearest to the entropy, until their mass is at least
    `mass`.
    """
    p = probabilities(logits)
    surprise = np.full(len(p), np.inf)
    surprise[p > 0] = -np.log(p[p > 0])
    distance = np.abs(surprise - np.sum(p[p > 0] * surprise[p > 0]))
    order = np.argsort(distance, kind="stable")
    count = 1 + np.sum(np.cumsum(p[order])[:-1] < mass)
    return distance <= distance[order[count - 1]] + 1e-6


def expected_nucleus(logits, p):
    """`[V]` bool: the most probable tokens, of equals the lower ids, until their mass is at least
    p.
    """
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
    for name in ("stop", "banned", "allowed", "forced"):
        values[name] = ["\x1f".join(getattr(c, name)) for c in configs]
    return Parameters(
        *(tf.constant(values[n], d) for n, d in zip(Parameters._fields, DTYPES, strict=True))
    )


def random_configs(rng, number, max_new_tokens=12):
    """Mixed wishes: about every other parameter of a row is neutral."""

    def maybe(value, neutral):
        return value if rng.random() < 0.5 else neutral

    def some(texts):
        return tuple(rng.choice(texts, int(rng.integers(1, 4)))) if rng.random() < 0.5 else ()

    def one():
        forced, prefix = (
            some(["é", "aé", "aa", "a a"])[:2],
            maybe(str(rng.choice(["aa", "é", "b\x00"])), ""),
        )
        shortest = max(4, len("".join(forced) + prefix))
        return DecodingConfig(
            temperature=maybe(float(rng.uniform(0.3, 2)), float(rng.integers(0, 2))),
            top_k=maybe(int(rng.integers(1, 20)), 0),
            top_p=maybe(float(rng.uniform(0.05, 1)), 1.0),
            min_p=maybe(float(rng.uniform(0, 0.5)), 0.0),
            typical_p=maybe(float(rng.uniform(0.05, 1)), 1.0),
            epsilon_cutoff=maybe(float(rng.uniform(0, 0.2)), 0.0),
            eta_cutoff=maybe(float(rng.uniform(0, 0.2)), 0.0),
            repetition_penalty=maybe(float(rng.uniform(0.5, 2)), 1.0),
            frequency_penalty=maybe(float(rng.uniform(-1, 2)), 0.0),
            presence_penalty=maybe(float(rng.uniform(-1, 2)), 0.0),
            no_repeat_ngram=maybe(int(rng.integers(1, 5)), 0),
            min_new_tokens=maybe(int(rng.integers(1, 4)), 0),
            max_new_tokens=max(shortest, int(rng.integers(4, max_new_tokens + 1))),
            stop=some(["abc", "字", "bab", "ca", "\x00a", "é "]),
            banned=some(["ab", "ba", "c", "字c", "xa"]),
            allowed=some(["abc", "é a", "ba字"]),
            forced=forced,
            forced_prefix=prefix,
            loop_repeats=maybe(int(rng.integers(2, 4)), 0),
            seed=int(rng.integers(-(2**62), 2**62)),
        )

    return [one() for _ in range(number)]
