"""The base class of all tokenizers: special ids, checks, files."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import tensorflow as tf

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer_config import DESCRIPTION_FILE, SPECIAL_NAMES, VOCABULARY_FILE

TokenizerT = TypeVar("TokenizerT", bound="Tokenizer")

# The first ids of every vocabulary that is built here. No text is tokenized to them.
SPECIAL_PIECES = tuple(name.encode() for name in SPECIAL_NAMES)
FORMAT_VERSION = 1


class Tokenizer(tf.Module):
    """Maps text to ids and back in the graph.

    To be served, a tokenizer must be an attribute of the exported `tf.Module`. A subclass
    implements `files`, `from_files`, `_split` and, if tokens are not simply concatenated, `_join`
    and `_attach`.

    Attributes:
      kind: name of the kind, as in `TokenizerConfig.kind`.
      vocabulary_size: number of ids.
      pieces: `[V]` string, the bytes of each id; special ids have their names.
      pad_id, unk_id, bos_id, eos_id, sep_id: the special ids.
      fingerprint: hexadecimal SHA-256 of the kind and the files; equal fingerprints tokenize
        equally.
    """

    kind: ClassVar[str] = ""

    def __init__(
        self,
        pieces: Sequence[bytes],
        *,
        pad_id: int = 0,
        unk_id: int = 1,
        bos_id: int = 2,
        eos_id: int = 3,
        sep_id: int = 4,
    ) -> None:
        self.fingerprint = _fingerprint(self.kind, self.files())
        super().__init__(name=f"{self.kind}_{self.fingerprint[:16]}")
        self.vocabulary_size = len(pieces)
        self.pieces = tf.constant(pieces, tf.string)
        self.pad_id = pad_id
        self.unk_id = unk_id
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.sep_id = sep_id

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Splits texts into ids.

        Args:
          texts: `[B]` string. Bytes that are not UTF-8 count as U+FFFD, except for the tokenizer of
            bytes.

        Returns:
          `[B, None]` int32 without `<s>` or `</s>`; "</s>" written in a text is ordinary text.

        Raises:
          UserError: if `texts` is not a vector.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        if texts.shape.rank not in (None, 1):
            raise UserError(
                f"tokenize got texts of shape {texts.shape}; expected a vector [B], one string per "
                "row"
            )
        return self._split(texts)

    def detokenize(self, tokens: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Joins ids to texts.

        Args:
          tokens: `[B, T]` of any integer type, ragged or padded. Special ids and ids outside the
            vocabulary are dropped, so that one bad id cannot spoil its batch.

        Returns:
          `[B]` string. A tokenizer of bytes returns the raw bytes; see `repair_utf8`.

        Raises:
          UserError: if `tokens` is not a matrix of integers.
        """
        if not isinstance(tokens, tf.RaggedTensor):
            tokens = tf.convert_to_tensor(tokens)
        if not tokens.dtype.is_integer or tokens.shape.rank not in (None, 2):
            raise UserError(
                f"detokenize got {tokens.dtype.name} tokens of shape {tokens.shape}; expected "
                "integers [B, T]"
            )
        return self._join(self._ordinary(tokens))

    def continue_texts(self, texts: tf.Tensor, tokens: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Joins ids to the texts that continue others.

        Args:
          texts: `[B]` string, the texts before the tokens.
          tokens: `[B, T]`, as `detokenize` takes them.

        Returns:
          `[B]` string that is appended to `texts` as it is: it starts with what parts the tokens
          from the end of a text.
        """
        return self._attach(texts, self.detokenize(tokens))

    def unknown_bytes(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the number of bytes of each text that unknown tokens hide.

        Args:
          texts: `[B]` string.

        Returns:
          `[B]` int64; 0 for tokenizers to which nothing is unknown.
        """
        return tf.zeros(tf.shape(texts), tf.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as the files, since tables and ops cannot be."""
        return type(self).from_files, (self.files(),)

    def files(self) -> dict[str, bytes]:
        """Returns name -> content of the files from which the tokenizer can be rebuilt."""
        raise NotImplementedError

    @classmethod
    def from_files(cls: type[TokenizerT], files: Mapping[str, bytes]) -> TokenizerT:
        """Rebuilds a tokenizer; raises `UserError` if the content is no vocabulary of this kind."""
        raise NotImplementedError

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes the files of the tokenizer, each atomically, and the description last."""
        files = self.files()
        description = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "vocabulary_size": self.vocabulary_size,
            "files": sorted(files),
            "fingerprint": self.fingerprint,
        }
        folder = pathlib.Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            atomic_files.write_bytes(folder / name, content)
        atomic_files.write_bytes(
            folder / DESCRIPTION_FILE, json.dumps(description, indent=1).encode() + b"\n"
        )

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        raise NotImplementedError

    def _join(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        return tf.strings.reduce_join(tf.gather(self.pieces, tokens), axis=1)

    def _attach(self, texts: tf.Tensor, continuations: tf.Tensor) -> tf.Tensor:
        """Returns joined tokens as they continue `texts`; both are `[B]` string."""
        return continuations

    def _ordinary(self, tokens: tf.Tensor | tf.RaggedTensor) -> tf.RaggedTensor:
        """Returns `tokens` without special ids and ids outside the vocabulary: `[B,
        None]` int32.
        """
        if isinstance(tokens, tf.RaggedTensor):
            values = tokens.values
            row_count = tokens.nrows(tf.int64)
            rows = tf.cast(tokens.value_rowids(), tf.int64)
        else:
            shape = tf.shape(tokens, tf.int64)
            values = tf.reshape(tokens, [-1])
            row_count = shape[0]
            rows = tf.repeat(tf.range(row_count), shape[1])
        # int32 would fold large ids into the vocabulary.
        values = tf.cast(values, tf.int64)
        keep = (values >= 0) & (values < self.vocabulary_size)
        for special_id in {self.pad_id, self.unk_id, self.bos_id, self.eos_id, self.sep_id}:
            keep &= values != special_id
        kept = tf.where(keep)[:, 0]
        values = tf.cast(tf.gather(values, kept), tf.int32)
        rows = tf.gather(rows, kept)
        return tf.RaggedTensor.from_value_rowids(values, rows, row_count, validate=False)


class ListTokenizer(Tokenizer):
    """A tokenizer whose vocabulary is a list of strings.

    Their ids follow the special ids, in order.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._check(entries)
        self._content = json.dumps(list(entries), ensure_ascii=False, indent=0).encode()
        super().__init__([*SPECIAL_PIECES, *(entry.encode() for entry in entries)])

    def files(self) -> dict[str, bytes]:
        return {VOCABULARY_FILE: self._content}

    @classmethod
    def from_files(cls: type[TokenizerT], files: Mapping[str, bytes]) -> TokenizerT:
        try:
            entries = json.loads(files[VOCABULARY_FILE])
        except ValueError as error:
            raise UserError(
                f"{VOCABULARY_FILE} is not JSON ({error}); build the vocabulary again"
            ) from error
        return cls(entries)  # type: ignore[arg-type]

    def _check(self, entries: Any) -> None:
        """Raises `UserError` unless `entries` are different strings that each can be a token."""
        expected = f"expected a list of different {self.kind}"
        if not isinstance(entries, (list, tuple)):
            raise UserError(
                f"a vocabulary of {self.kind} is a {type(entries).__name__}; {expected}"
            )
        for entry in entries:
            if not isinstance(entry, str) or not self._is_token(entry):
                raise UserError(f"a vocabulary of {self.kind} contains {entry!r}; {expected}")
        if len(set(entries)) != len(entries):
            ((twice, _),) = collections.Counter(entries).most_common(1)
            raise UserError(f"a vocabulary of {self.kind} contains {twice!r} twice; {expected}")

    def _is_token(self, entry: str) -> bool:
        raise NotImplementedError


def repair_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Replaces bytes that are not UTF-8 by U+FFFD: `[...]` string -> `[...]` string.

    JSON needs it for the texts of a tokenizer of bytes.
    """
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


def read_files(directory: str | os.PathLike[str]) -> tuple[str, dict[str, bytes]]:
    """Returns the kind and the files of a saved tokenizer, and verifies their fingerprint.

    Raises:
      UserError: if the folder holds no tokenizer, one of a later version, or files that were
        changed.
    """
    folder = pathlib.Path(directory)
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_bytes())
        version, kind, fingerprint = (
            description[name] for name in ("format_version", "kind", "fingerprint")
        )
        if not isinstance(kind, str):
            raise ValueError(f"kind {kind!r}")
        if version != FORMAT_VERSION:
            raise UserError(
                f"the tokenizer in {folder} has format {version}; this tf_textgen reads "
                f"{FORMAT_VERSION}: update it"
            )
        files = {name: (folder / name).read_bytes() for name in description["files"]}
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"no tokenizer in {folder}: {error.strerror}: {error.filename}; build_vocab makes one"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder / DESCRIPTION_FILE} does not describe a tokenizer; build it again"
        ) from error
    if fingerprint != _fingerprint(kind, files):
        raise UserError(
            f"the tokenizer in {folder} was changed or is incomplete (fingerprint differs); build "
            "it again"
        )
    return kind, files


def _fingerprint(kind: str, files: Mapping[str, bytes]) -> str:
    """Returns the SHA-256 of the kind and of name, length and content of each file."""
    digest = hashlib.sha256(kind.encode() + b"\n")
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return digest.hexdigest()
