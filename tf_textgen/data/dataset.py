"""From files to batches.

    splits = open_corpus(config, tokenizer)
    train = training_batches(splits["train"], config, seed=1)
    model.fit(train, steps_per_epoch=steps_per_epoch(splits["train"], config))

Every batch is a pure function of split, configuration, seed and global step. A run that is resumed
at step n reads the batches that it would have read, and the batch of any step costs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.data import batches, token_cache
from tf_textgen.data.batches import ONE_PROCESS, Share
from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.data.packing import PackedDocuments
from tf_textgen.data.pairs import DecoderOnlyPairs, EncoderDecoderPairs
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.data.streams import Streams
from tf_textgen.data.windows import Windows
from tf_textgen.errors import UserError

LANGUAGE_MODEL = "language_model"
ENCODER_DECODER = "encoder_decoder"


def open_corpus(
    config: DataConfig,
    tokenizer: Any,
    splits: Sequence[str] = ("train", "valid"),
    source_tokenizer: Any = None,
) -> dict[str, TokenizedSplit]:
    """Opens splits by name and tokenizes files that are not in the cache.

    Without files for `valid`, it is the last `validation_fraction` of the training documents (in
    file order), and `train` ends before them. If that fraction is 0, there is no `valid`.

    Args:
      config: names the files and defines how they are read.
      tokenizer: of documents, or of pairs.
      splits: names of the splits.
      source_tokenizer: of the source side of pairs, for an encoder-decoder; None is `tokenizer`.

    Returns:
      Name -> split.

    Raises:
      UserError: if a split has no files, or the files do not have the form that `config` describes.
    """
    opened = {}
    for name in splits:
        split = _open_split(config, tokenizer, name, source_tokenizer)
        if split is not None:
            opened[name] = split
    train = opened.get("train")
    for name, split in opened.items():
        if train is not None and name != "train":
            _check_distinct_files(train, split)
            split.measure_overlap(train)
    return opened


def training_batches(
    split: TokenizedSplit,
    config: DataConfig,
    *,
    seed: int,
    start_step: int = 0,
    model_kind: str = LANGUAGE_MODEL,
    share: Share = ONE_PROCESS,
) -> tf.data.Dataset:
    """Returns the endless batches `(features, labels, weights)` of training from global step
    `start_step`.

    Args:
      split: the training data.
      config: the shape of the batches.
      seed: of their order.
      start_step: number of steps that are done.
      model_kind: LANGUAGE_MODEL or ENCODER_DECODER.
      share: the replicas that this process feeds. An element is the part of one replica; the parts
        of a step are in order.
    """
    plan = _plan(split, config, model_kind)
    # Too little text is an error here instead of inside the dataset.
    _ = plan.steps_per_epoch
    places = tf.data.Dataset.counter(start_step * share.local)

    def batch_of(step: int, part: batches.Part) -> batches.Batch:
        return plan.training_batch(step, seed, part)

    return batches.make_dataset(places, batch_of, plan, share)


def steps_per_epoch(
    split: TokenizedSplit, config: DataConfig, *, model_kind: str = LANGUAGE_MODEL
) -> int:
    """Returns the number of training steps after which every row (or pair) was used at
    least once.
    """
    return _plan(split, config, model_kind).steps_per_epoch


def evaluation_steps(
    split: TokenizedSplit, config: DataConfig, *, model_kind: str = LANGUAGE_MODEL
) -> int:
    """Returns the number of batches of `evaluation_batches`."""
    return _plan(split, config, model_kind).evaluation_steps


def evaluation_batches(
    split: TokenizedSplit,
    config: DataConfig,
    *,
    model_kind: str = LANGUAGE_MODEL,
    stride: int | None = None,
    share: Share = ONE_PROCESS,
) -> tf.data.Dataset:
    """Returns the batches of one pass, in which each of `split.num_tokens` labels has weight 1
    once.

    Args:
      split: the evaluation data.
      config: the shape of the batches.
      model_kind: LANGUAGE_MODEL or ENCODER_DECODER.
      stride: of windows, the distance between their starts; None is `config.context`. A smaller
        stride gives each label at least `context - stride` tokens before it and needs more windows.
      share: as in `training_batches`.
    """
    plan = _plan(split, config, model_kind, stride)
    places = tf.data.Dataset.range(plan.evaluation_steps * share.local)
    return batches.make_dataset(places, plan.evaluation_batch, plan, share)


def _open_split(
    config: DataConfig, tokenizer: Any, name: str, source_tokenizer: Any
) -> TokenizedSplit | None:
    if name not in SPLITS:
        raise UserError(f"split {name!r}: expected one of {', '.join(SPLITS)}")
    is_cut = not config.valid and config.validation_fraction > 0.0 and name != "test"
    if not is_cut:
        if name == "valid" and not config.valid:
            return None
        opened = token_cache.open_shards(config, tokenizer, name, source_tokenizer)
        return TokenizedSplit(name, opened, tokenizer, source_tokenizer=source_tokenizer)
    opened = token_cache.open_shards(config, tokenizer, "train", source_tokenizer)
    whole = TokenizedSplit(name, opened, tokenizer, source_tokenizer=source_tokenizer)
    if whole.num_documents < 2 and not config.is_pairs:
        # The last share of the only document, cut at the end of a line, becomes a document.
        cut_bytes = round(whole.num_bytes * (1.0 - config.validation_fraction))
        opened = token_cache.open_shards(config, tokenizer, "train", cut_bytes=cut_bytes)
        whole = TokenizedSplit(name, opened, tokenizer)
    if whole.num_documents < 2:
        raise UserError(
            f"--data.validation_fraction={config.validation_fraction:g}: the training files are "
            f"one {'pair' if config.is_pairs else 'line'}, expected at least two to cut from; give "
            "--data.valid, or set --data.validation_fraction=0"
        )
    held_out = max(1, round(whole.num_documents * config.validation_fraction))
    border = max(1, whole.num_documents - held_out)
    if name == "train":
        return TokenizedSplit(name, whole.shards, tokenizer, 0, border, source_tokenizer)
    return TokenizedSplit(name, whole.shards, tokenizer, border, None, source_tokenizer)


def _check_distinct_files(train: TokenizedSplit, split: TokenizedSplit) -> None:
    """Raises `UserError` if another split has a file with the text of a training file."""
    is_apart = split.first >= train.last or split.last <= train.first
    if is_apart and split.shards.folder == train.shards.folder:
        return
    known = dict(zip(train.shards.manifest["text_sha256"], train.shards.file_names, strict=True))
    hashes = split.shards.manifest["text_sha256"]
    for text_hash, name in zip(hashes, split.shards.file_names, strict=True):
        if text_hash in known:
            raise UserError(
                f"--data.{split.name}: {name} contains the same text as {known[text_hash]} of "
                "--data.train: expected other text; leave it out of one of them"
            )


def _plan(
    split: TokenizedSplit, config: DataConfig, model_kind: str, stride: int | None = None
) -> batches.Plan:
    if model_kind not in (LANGUAGE_MODEL, ENCODER_DECODER):
        raise UserError(
            f"model kind {model_kind!r}: expected {LANGUAGE_MODEL} or {ENCODER_DECODER}"
        )
    if split.is_pairs:
        form = EncoderDecoderPairs if model_kind == ENCODER_DECODER else DecoderOnlyPairs
        _refuse_stride(stride, f"--data.format={config.format}")
        return form(split, config.batch_tokens, config.num_buckets)
    if model_kind == ENCODER_DECODER:
        raise UserError(
            "an encoder-decoder model on --data.format=text: expected pairs; set --data.format to "
            "tsv, parallel or dialogue, or choose a language model"
        )
    if config.batching == "packed":
        _refuse_stride(stride, "--data.batching=packed")
        return PackedDocuments(split, config.context, config.batch_size)
    if config.carry_state:
        _refuse_stride(stride, "--data.carry_state")
        return Streams(split, config.context, config.batch_size)
    return Windows(split, config.context, config.batch_size, stride)


def _refuse_stride(stride: int | None, option: str) -> None:
    if stride is not None:
        raise UserError(
            f"stride {stride} with {option}: expected --data.batching=windows; leave the stride out"
        )
