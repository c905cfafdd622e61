"""The sources, references and prompts of a split."""

from __future__ import annotations

from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.references import Example, read_examples
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.generator import TextGenerator
from tf_textgen.judging.evaluation_config import NUM_PROMPTS
from tf_textgen.runs import loading
from tf_textgen.runs.run_folder import LoadedRun

_PROMPT_TOKENS = 12


def examples_of(
    run: LoadedRun,
    data: DataConfig,
    split: str,
    generator: TextGenerator,
    *,
    limit: int | None,
    further_references: bool,
) -> list[Example]:
    """Returns the sources of a split with their references; for text, prompts without references.

    Args:
      run: the run that is evaluated.
      data: the files of the split and how they are read.
      split: name of the split.
      generator: the run's generator.
      limit: number of examples; None is all sources, or 100 prompts.
      further_references: whether the columns after the target are references too.
    """
    if not data.is_pairs:
        opened = loading.open_split(run, data, split)
        prompts = prompts_from(opened, generator, limit or NUM_PROMPTS)
        return [Example(prompt, ()) for prompt in prompts]
    if split == "test" or data.valid or not data.validation_fraction:
        return read_examples(data, split, further_columns=further_references)[:limit]
    # Validation pairs are cut from the end of the training files. Over-long pairs are not counted
    # there, but the last (or first) `count` pairs here never belong to the other part.
    count = loading.open_split(run, data, split).num_documents
    part = slice(-count, None) if split == "valid" else slice(count)
    return read_examples(data, "train", part=part, further_columns=further_references)[:limit]


def prompts_from(split: TokenizedSplit, generator: TextGenerator, count: int) -> list[str]:
    """Returns sources of pairs, or short passages of text, from `count` places evenly over a split.

    There are fewer than `count` if the split has fewer pairs.
    """
    rows = []
    if split.is_pairs:
        tokenizer = generator.source_tokenizer
        for index in range(min(count, split.num_documents)):
            rows.append(split.document("source", index * split.num_documents // count))
    else:
        tokenizer = generator.tokenizer
        for index in range(count):
            start = index * split.stream_tokens // count
            rows.append(split.read(start, min(start + _PROMPT_TOKENS, split.stream_tokens)))
    prompts = []
    for row in rows:
        if len(row):
            text = tokenizer.detokenize(row[None, :]).numpy()[0]
            # A space at the end would be its own token, which hardly ever precedes a word.
            prompts.append(text.decode(errors="ignore").rstrip())
    return prompts
