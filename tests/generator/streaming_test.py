"""What of a text is shown while it grows."""

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.decoding.stopping import parse_stops
from tf_textgen.generator.streaming import settled_text
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.text.sentencepiece import train_sentencepiece
from tf_textgen.text.tokenizer import repair_utf8
from tf_textgen.text.tokenizer_config import TokenizerConfig


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_what_is_shown_is_never_taken_back(kind):
    """Random ids, among them many parts of characters and of stop strings, shown token by token."""
    texts = ["the cat sat on the mat\n", "von vier Katzen saß eine\n", "猫坐在垫子上\n"] * 20
    tokenizer = ByteTokenizer()
    if kind == "sentencepiece":
        tokenizer = train_sentencepiece(TokenizerConfig(kind=kind, vocabulary_size=287), texts)
    rng = np.random.default_rng(0)
    pieces = [piece.encode() for piece in ("猫", "ß", "a", "the", "🙂", "at\n", "\ufffd")] + [
        b"\xe7",
        b"\xff",
        b"\xf0\x9f",
    ]
    of_byte = {
        bytes(piece): i for i, piece in enumerate(tokenizer.pieces.numpy()) if len(piece) == 1
    }
    stops, held = parse_stops(tf.constant(["猫a\x1f🙂🙂\x1fthethe\x1fat\nX"])), 0
    show = tf.function(
        lambda tokens: settled_text(tokenizer.detokenize(tokens), stops),
        input_signature=[tf.TensorSpec([1, None], tf.int32)],
        autograph=False,
    )
    for _ in range(6):
        tokens = [of_byte[bytes([byte])] for piece in rng.choice(pieces, 20) for byte in piece]
        whole = repair_utf8(tokenizer.detokenize([tokens])).numpy()[0]
        before = b""
        for count in range(len(tokens) + 1):
            shown = show(tf.constant([tokens[:count]], tf.int32)).numpy()[0]
            assert shown.startswith(before) and whole.startswith(shown)
            held += len(
                repair_utf8(tokenizer.detokenize(tf.constant([tokens[:count]], tf.int32))).numpy()[
                    0
                ]
            ) > len(shown)
            before = shown
    assert held > 50
