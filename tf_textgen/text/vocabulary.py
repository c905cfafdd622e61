"""Building tokenizers from text, and loading them."""

from __future__ import annotations

import collections
import heapq
import importlib
import os
import random
from collections.abc import Iterable, Iterator, Sequence

from tf_textgen.config import did_you_mean
from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer import SPECIAL_PIECES, Tokenizer, read_files
from tf_textgen.text.tokenizer_config import TokenizerConfig

KINDS = {
    "characters": ("tf_textgen.text.characters", "CharacterTokenizer"),
    "bytes": ("tf_textgen.text.bytes", "ByteTokenizer"),
    "words": ("tf_textgen.text.words", "WordTokenizer"),
    "sentencepiece": ("tf_textgen.text.sentencepiece", "SentencePieceTokenizer"),
}
_BLOCK_CHARACTERS = 4_096


def build_tokenizer(config: TokenizerConfig, documents: Iterable[bytes | str]) -> Tokenizer:
    """Builds a tokenizer from a uniform sample of text, in memory that does not grow with the text.

    Args:
      config: the kind, the size, and how much text to sample.
      documents: texts, whole documents or lines, as UTF-8 (other bytes become U+FFFD) or strings.
        They are read once. The tokenizer of bytes does not read them.

    Raises:
      UserError: if there is no text, or too little of it for the vocabulary size.
    """
    if config.kind == "bytes":
        from tf_textgen.text.bytes import ByteTokenizer

        return ByteTokenizer()
    sample = sample_text(documents, config.sample_bytes, config.seed)
    if not any(not block.isspace() for block in sample):
        raise UserError(
            "there is no text to build a vocabulary from; expected documents that are not empty"
        )
    if config.kind == "sentencepiece":
        from tf_textgen.text.sentencepiece import train_sentencepiece

        return train_sentencepiece(config, sample)
    counts: collections.Counter[str] = collections.Counter()
    if config.kind == "words":
        from tf_textgen.text.words import WordTokenizer, split_words

        for block in sample:
            counts.update(split_words(block))
        return WordTokenizer(_most_frequent(config, counts))
    from tf_textgen.text.characters import CharacterTokenizer

    for block in sample:
        counts.update(block)
    return CharacterTokenizer(_most_frequent(config, counts))


def load_tokenizer(directory: str | os.PathLike[str]) -> Tokenizer:
    """Loads a tokenizer that `Tokenizer.save` wrote.

    Raises:
      UserError: if the folder contains no tokenizer, a damaged one, or one of an unknown kind.
    """
    kind, files = read_files(directory)
    if kind not in KINDS:
        raise UserError(
            f"the tokenizer in {directory} is of unknown kind {kind!r}{did_you_mean(kind, KINDS)}"
        )
    module, name = KINDS[kind]
    try:
        return getattr(importlib.import_module(module), name).from_files(files)
    except KeyError as error:
        raise UserError(
            f"the tokenizer in {directory} names no file {error}; build it again"
        ) from error


def sample_text(documents: Iterable[bytes | str], sample_bytes: int, seed: int) -> list[str]:
    """Draws blocks of whole lines uniformly, at most `sample_bytes` of UTF-8, in their order.

    Every block gets a random priority, and the blocks with the smallest priorities are kept: a
    reservoir for blocks of different sizes. If everything fits, everything is returned.
    """
    generator = random.Random(seed)
    heap: list[tuple[float, int, bytes]] = []  # the largest priority first
    total = 0
    threshold = 1.0
    size = max(64, min(_BLOCK_CHARACTERS, sample_bytes // 64))
    for index, block in enumerate(_blocks(documents, size)):
        priority = generator.random()
        if priority >= threshold:
            continue
        content = block.encode()
        heapq.heappush(heap, (-priority, index, content))
        total += len(content)
        while total > sample_bytes:
            largest, _, dropped = heapq.heappop(heap)
            threshold = -largest
            total = total - len(dropped)
    return [content.decode() for _, _, content in sorted(heap, key=lambda entry: entry[1])]


def _blocks(documents: Iterable[bytes | str], size: int) -> Iterator[str]:
    """Yields all text in blocks of at most `size` characters.

    Short documents share a block and are separated by a newline.
    """
    if isinstance(documents, (bytes, str)):
        raise UserError(
            f"expected many documents, got one {type(documents).__name__}; put it in a list"
        )
    pending: list[str] = []
    length = 0
    for document in documents:
        for part in _parts(_as_text(document), size):
            if pending and length + len(part) > size:
                yield "\n".join(pending)
                pending = []
                length = 0
            pending.append(part)
            length += len(part) + 1
    if pending:
        yield "\n".join(pending)


def _parts(text: str, size: int) -> Iterator[str]:
    """Yields parts of at most `size` characters, cut after a newline, else before a space, else
    anywhere.
    """
    start = 0
    while len(text) - start > size:
        end = text.rfind("\n", start, start + size) + 1
        if end <= start:
            end = text.rfind(" ", start + 1, start + size)
        if end <= start:
            end = start + size
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _as_text(document: bytes | str) -> str:
    if isinstance(document, str):
        return document.encode("utf-8", "replace").decode()  # no lone surrogates
    if isinstance(document, bytes):
        return document.decode("utf-8", "replace")
    raise UserError(f"a document is of type {type(document).__name__}; expected bytes or str")


def _most_frequent(config: TokenizerConfig, counts: collections.Counter[str]) -> Sequence[str]:
    """Returns a newline, which any text may need, the symbols, and the most frequent entries.

    Entries of equal frequency are in alphabetical order.
    """
    always = ["\n", *config.symbols]
    for entry in always:
        del counts[entry]
    if not counts:
        raise UserError(
            f"the text contains only newlines and the symbols {', '.join(config.symbols)}: "
            f"expected {config.kind} to make a vocabulary from; give more text or leave a symbol "
            "out"
        )
    frequent = [entry for entry, count in counts.items() if count >= config.minimum_frequency]
    if not frequent:
        raise UserError(
            f"--tokenizer.minimum_frequency={config.minimum_frequency}: none of the text's "
            f"{config.kind} is as frequent; set at most {max(counts.values())}"
        )
    frequent.sort(key=lambda entry: (-counts[entry], entry))
    return [*always, *frequent[: config.vocabulary_size - len(SPECIAL_PIECES) - len(always)]]
