"""The requests that a server asks a new version before others may: the first of a kind is slow, and
no user waits.

TensorFlow makes a graph ready when it is first run, and its memory grows to what the batches need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice

import numpy as np

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.generator.signature import Signature

PROMPTS = ("The", "Once upon a time", "从前有一个", "word " * 200)
_ROWS = 8  # of the one larger batch
_NEW_TOKENS = 16  # a loop that has run a few times is as warm as one that has run long


def warm_up_requests(
    signatures: Mapping[str, Signature], decoding: DecodingConfig, prompts: Sequence[str] = PROMPTS
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """For each signature each prompt alone, and a batch of all lengths: a signature's name and its
    inputs each.
    """
    most = min(_NEW_TOKENS, decoding.max_new_tokens)
    short = dataclasses.replace(
        decoding,
        max_new_tokens=most,
        min_new_tokens=min(most, decoding.min_new_tokens),
        forced=(),
        forced_prefix="",
    )
    batches = [[prompt] for prompt in prompts] + [list(islice(cycle(prompts), _ROWS))]
    for name, signature in signatures.items():
        for batch in batches:
            values = signature.example_inputs(batch, short)
            types = {key: spec.dtype.as_numpy_dtype for key, spec in signature.inputs.items()}
            yield name, {key: np.array(values[key], types[key]) for key in signature.inputs}
