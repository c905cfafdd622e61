"""The warm-up requests of an export: a server answers them before a version becomes available.

TensorFlow optimizes a graph at its first run, which takes nine tenths of the time of a warm-up, and
its memory grows to the size of the batches. With these requests no user waits for either.
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
    signatures: Mapping[str, Signature],
    decoding: DecodingConfig,
    prompts: Sequence[str] = PROMPTS,
    *,
    jit_compile: bool = False,
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """For each signature one request of one row, and one batch of all prompts.

    Args:
      signatures: by name.
      decoding: parameters of the requests, which are cut to few tokens.
      prompts: of different lengths.
      jit_compile: whether each prompt is also a request by itself, since XLA compiles each shape.

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
    single_prompts = prompts if jit_compile else prompts[:1]
    batches = [[prompt] for prompt in single_prompts] + [large_batch]
    for name, signature in signatures.items():
        for batch in batches:
            values = signature.example_inputs(batch, short)
            inputs = {}
            for key, spec in signature.inputs.items():
                inputs[key] = np.array(values[key], spec.dtype.as_numpy_dtype)
            yield name, inputs
