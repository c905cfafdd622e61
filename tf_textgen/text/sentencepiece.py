"""SentencePiece in the graph, with unigram or byte-pair pieces and an exact round trip.

References: Kudo and Richardson 2018, arXiv:1808.06226; Kudo 2018, arXiv:1804.10959 (unigram);
Sennrich et al. 2016, arXiv:1508.07909 (BPE).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence

import sentencepiece
import tensorflow as tf

from tf_textgen.compat import sentencepiece_op
from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer import SPECIAL_PIECES, Tokenizer, repair_utf8
from tf_textgen.text.tokenizer_config import SENTENCEPIECE_FILE, TokenizerConfig

# The characters that SentencePiece uses for a space and for an unknown character. It skips lines
# that contain the latter.
_SPACE = "\u2581"
_UNKNOWN = "\u2585"


class SentencePieceTokenizer(Tokenizer):
    """Pieces that are learned from text. Characters without a piece are encoded as bytes.

    Nothing is unknown, and the round trip of every valid text is exact, with one exception: U+2581,
    which SentencePiece uses for a space, becomes a space.

    Args:
      model: the serialized SentencePiece model.

    Raises:
      UserError: if it is not a SentencePiece model with the special ids of this package.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        self._model = model
        super().__init__(_read_pieces(model))
        self._op = sentencepiece_op(model, self.name)

    def files(self) -> dict[str, bytes]:
        return {SENTENCEPIECE_FILE: self._model}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> SentencePieceTokenizer:
        return cls(files[SENTENCEPIECE_FILE])

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._op.tokenize(repair_utf8(texts))

    def _join(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        return self._op.detokenize(tokens)


def train_sentencepiece(config: TokenizerConfig, texts: Sequence[str]) -> SentencePieceTokenizer:
    """Learns pieces from `texts`; the same texts give the same model on every machine.

    Raises:
      UserError: if the text is too small or too varied for `config.vocabulary_size`.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts),
            model_writer=model,
            model_type=config.algorithm,
            vocab_size=config.vocabulary_size,
            character_coverage=config.character_coverage,
            # Longer lines would be skipped; those of a sample are never longer.
            max_sentence_length=1 << 20,
            # The following options make the round trip exact.
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            user_defined_symbols=["\n", *config.symbols],
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            control_symbols=["<sep>"],
            # A fixed number, since sums of floats depend on it. Nothing else is random.
            num_threads=4,
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _training_error(config, str(error)) from error
    return SentencePieceTokenizer(model.getvalue())


def _lines(texts: Sequence[str]) -> Iterator[str]:
    return (line for text in texts for line in text.replace(_UNKNOWN, "").split("\n") if line)


def _training_error(config: TokenizerConfig, message: str) -> UserError:
    """Returns an error with the flag and the remedy, instead of a line of SentencePiece's C++."""
    flag = f"--tokenizer.vocabulary_size={config.vocabulary_size}"
    if found := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        return UserError(
            f"{flag}: this text gives at most {found[1]} pieces; set {found[1]} or less, or give "
            "more text"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"{flag}: the text's characters and the 256 bytes need at least {found[1]}; "
            f"raise it, or lower --tokenizer.character_coverage={config.character_coverage}"
        )
    if "!sentences_.empty()" in message:
        return UserError("there is no text to learn pieces from; expected lines that are not empty")
    return UserError(
        f"{flag}: SentencePiece cannot learn from this text: {' '.join(message.split())}"
    )


def _read_pieces(model: bytes) -> list[bytes]:
    """Returns the bytes of every piece of a model."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise UserError(
            "not a SentencePiece model, or a damaged one; build the vocabulary again"
        ) from error
    names = [processor.id_to_piece(index) for index in range(processor.vocab_size())]
    specials = [name.encode() for name in names[: len(SPECIAL_PIECES)]]
    if specials != list(SPECIAL_PIECES) or not processor.is_control(len(SPECIAL_PIECES) - 1):
        expected = " ".join(piece.decode() for piece in SPECIAL_PIECES)
        raise UserError(
            f"the SentencePiece model starts with {specials}; expected {expected}: build the "
            "vocabulary here"
        )
    pieces = [name.replace(_SPACE, " ").encode() for name in names]
    for index in filter(processor.is_byte, range(len(names))):
        pieces[index] = bytes([int(names[index][3:5], 16)])  # "<0x0A>"
    return pieces
