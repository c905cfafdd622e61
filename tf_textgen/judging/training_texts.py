"""The texts that a model learned to write, with which memorization compares."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tf_textgen.data import sources
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.documents import Documents
from tf_textgen.runs import loading
from tf_textgen.runs.run_folder import LoadedRun

_PAIRS_PER_BATCH = 8192


def training_texts(run: LoadedRun) -> Iterator[str]:
    """Yields the training documents (very long ones in parts), or the targets of pairs."""
    data = run.data
    train = loading.open_split(run, data, "train")
    paths = sources.split_files(data, "train")
    remaining = train.num_documents
    if data.is_pairs:
        pairs = iter(sources.Pairs(data, *paths))
        learned = _fitting_pairs(run, data, pairs) if train.dropped else pairs
        # Validation pairs follow the training pairs in the same files.
        for _, target in islice(learned, remaining):
            yield target.decode()
        return
    for text, ends in Documents(data, paths[0]):
        if remaining <= 0:
            return
        yield text.decode()
        remaining -= ends


def _fitting_pairs(
    run: LoadedRun, data: DataConfig, pairs: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the pairs that are not over-long; training dropped and did not count the others."""
    source_tokenizer = run.source_tokenizer or run.tokenizer
    while batch := list(islice(pairs, _PAIRS_PER_BATCH)):
        source_texts = [source for source, _ in batch]
        target_texts = [target for _, target in batch]
        source_lengths = source_tokenizer.tokenize(source_texts).row_lengths().numpy()
        target_lengths = run.tokenizer.tokenize(target_texts).row_lengths().numpy()
        fits = (source_lengths <= data.max_source_tokens) & (
            target_lengths <= data.max_target_tokens
        )
        for pair, is_kept in zip(batch, fits, strict=True):
            if is_kept:
                yield pair
