"""Requests whose parameters differ as much as they can, to be merged into one batch."""

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import Parameters, from_config

WORDS = ("a", "the 猫", "", "Zwölf")
PROMPTS = [f"{word} {number}" * (number % 5) for number in range(4) for word in WORDS]
# By prompt.
REQUESTS = {
    "": DecodingConfig(temperature=0.0, max_new_tokens=5),
    "abc": DecodingConfig(max_new_tokens=20, seed=1),
    "x" * 63: DecodingConfig(
        max_new_tokens=20,
        top_p=0.9,
        repetition_penalty=1.3,
        seed=2,
        stop=("a",),
    ),
    "Zwölf 猫": DecodingConfig(
        temperature=0.7,
        max_new_tokens=24,
        top_k=10,
        seed=3,
        stop=("zz", "b"),
    ),
    "q": DecodingConfig(max_new_tokens=1, min_p=0.1, seed=4),
    "hello " * 9: DecodingConfig(
        temperature=0.0,
        max_new_tokens=24,
        min_new_tokens=9,
        repetition_penalty=1.5,
    ),
    " ": DecodingConfig(
        max_new_tokens=20,
        forced=("cat", " a dog"),
        forced_prefix="It ",
        banned=("e", "xy"),
        seed=5,
    ),
    "ab": DecodingConfig(
        max_new_tokens=24,
        allowed=("ab ", "c"),
        no_repeat_ngram=2,
        typical_p=0.9,
        seed=6,
    ),
    "abc ": DecodingConfig(
        temperature=0.0,
        max_new_tokens=24,
        loop_repeats=2,
        frequency_penalty=-1.0,
    ),
    "z": DecodingConfig(
        max_new_tokens=24,
        eta_cutoff=0.01,
        epsilon_cutoff=0.002,
        presence_penalty=1.5,
        seed=7,
    ),
}


def parameter_rows(requests) -> list[Parameters]:
    """The parameters of each request, one row each."""
    return [from_config(decoding, 1) for decoding in requests.values()]


def merged(rows: list[Parameters]) -> Parameters:
    """The parameters of several requests as a server merges them."""
    return Parameters(*(tf.concat(column, 0) for column in zip(*rows, strict=True)))
