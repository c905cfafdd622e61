"""The warm-up requests of an export: a server answers them before a version becomes available.

TensorFlow optimizes a graph at its first run, and its memory grows to the size of the batches. With
these requests no user waits for either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.generator.signature import Signature

PROMPTS = ("The", "Once upon a time", "从前有一个", "word " * 200)
_LARGE_BATCH = 8
# A loop that has run a few times is as warm as one that has run long.
_NEW_TOKENS = 16


def warm_up_requests(
    signatures: Mapping[str, Signature], decoding: DecodingConfig, prompts: Sequence[str] = PROMPTS
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """For each signature one request of each prompt, and one batch of all of them.

    Args:
      signatures: by name.
      decoding: parameters of the requests, which are cut to few tokens.
      prompts: of different lengths.

    Yields:
      A signature's name and its inputs.
    """
    most = min(_NEW_TOKENS, decoding.max_new_tokens)
    short = decoding.replace(
        max_new_tokens=most,
        min_new_tokens=min(most, decoding.min_new_tokens),
        forced=(),
        forced_prefix="",
    )
    large_batch = list(itertools.islice(itertools.cycle(prompts), _LARGE_BATCH))
    batches = [[prompt] for prompt in prompts] + [large_batch]
    for name, signature in signatures.items():
        for batch in batches:
            values = signature.example_inputs(batch, short)
            inputs = {}
            for key, spec in signature.inputs.items():
                inputs[key] = np.array(values[key], spec.dtype.as_numpy_dtype)
            yield name, inputs
