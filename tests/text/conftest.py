"""One small tokenizer of each kind, made once for all tests."""

import random

import pytest

from tf_textgen.text import TokenizerConfig, build_tokenizer

KINDS = ("bytes", "characters", "words", "unigram", "bpe")


def documents() -> list[str]:
    generator = random.Random(7)
    words = ["the", "cat", "sat", "hat", "天地", "玄黄", "宇宙", "洪荒", "naïve", "e\u0301tude"]
    return [" ".join(generator.choices(words, k=8)) + "\n" + "\t".join(words) for _ in range(60)]


def config(kind: str, **fields: object) -> TokenizerConfig:
    if kind in ("unigram", "bpe"):
        return TokenizerConfig(kind="sentencepiece", algorithm=kind, vocabulary_size=300, **fields)
    return TokenizerConfig(kind=kind, **fields)


@pytest.fixture(scope="session")
def tokenizers():
    return {kind: build_tokenizer(config(kind), documents()) for kind in KINDS}


@pytest.fixture(params=KINDS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


@pytest.fixture(params=("bytes", "unigram", "bpe"))
def exact_tokenizer(request, tokenizers):
    """Those that give every valid text back as it was."""
    return tokenizers[request.param]
