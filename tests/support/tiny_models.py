"""Small models with random weights, large enough to have every part."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from tf_textgen.generator import TextGenerator
from tf_textgen.models import family
from tf_textgen.models.kneser_ney import estimate
from tf_textgen.models.ngram_counts import NGramCounts
from tf_textgen.text.bytes import ByteTokenizer

CONFIGS = {
    "rnn_lm": {"num_layers": 2, "width": 16, "embedding_width": 8},
    "ngram": {"order": 4},
    "transformer_lm": {"num_layers": 2, "num_heads": 2, "width": 16, "max_positions": 64},
    "rnn_seq2seq": {
        "width": 16,
        "embedding_width": 8,
        "bidirectional": True,
        "attention": "luong_general",
    },
    "transformer_seq2seq": {
        "encoder_layers": 1,
        "decoder_layers": 2,
        "num_heads": 2,
        "width": 16,
        "max_positions": 64,
    },
}


def model(name: str, vocabulary_size: int, **overrides):
    """A built model of the family `name`, its weights larger than at the start of a training."""
    chosen = family(name)
    config = chosen.config_class(vocabulary_size=vocabulary_size, **{**CONFIGS[name], **overrides})
    if chosen.trained_by == "counting":
        return _counted(chosen, config)
    built = chosen.model_class()(config, seed=3, name=name).initialize()
    generator = keras.random.SeedGenerator(7)
    for weight in built.trainable_weights:
        if weight.shape.rank > 1:
            weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=generator))
    return built


def _counted(chosen, config):
    """Of random rows `<s> ... </s>` in which few tokens are frequent."""
    rng, size = np.random.default_rng(3), config.vocabulary_size
    rows = [np.concatenate([[2], 5 + rng.zipf(1.3, 40) % (size - 5), [3]]) for _ in range(50)]
    tokens = np.concatenate(rows)
    counts = NGramCounts(config.order, size, 2)
    counts.add(tokens, tokens != 2)
    found = estimate(counts.table(), size, (0, 2, 4))
    config = dataclasses.replace(config, contexts=found.contexts, continuations=found.continuations)
    built = chosen.model_class()(config, seed=3).initialize()
    built.assign(found)
    return built


def generator(
    name: str,
    prompt_format: str | None = None,
    truncation_side: str | None = None,
    max_new_tokens: int = 24,
    jit_compile: bool = False,
    **overrides,
) -> TextGenerator:
    """A `TextGenerator` over bytes; over-long sources lose their end, as those of all pairs but
    dialogues.
    """
    tokenizer = ByteTokenizer()
    prompt_format = prompt_format or (
        "source" if family(name).kind == "encoder_decoder" else "continuation"
    )
    return TextGenerator(
        model(name, tokenizer.vocabulary_size, **overrides),
        tokenizer,
        prompt_format=prompt_format,
        max_new_tokens=max_new_tokens,
        jit_compile=jit_compile,
        truncation_side=truncation_side
        or ("end" if prompt_format in ("pair", "source") else "beginning"),
    )
