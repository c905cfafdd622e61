import gc
import io
import re

import keras
import pytest
import sentencepiece
import tensorflow as tf

from tests.text.conftest import config, documents
from tf_textgen.errors import UserError
from tf_textgen.text import TokenizerConfig, build_tokenizer
from tf_textgen.text.sentencepiece import SentencePieceTokenizer

ALGORITHMS = pytest.mark.parametrize("algorithm", ["unigram", "bpe"])


@ALGORITHMS
def test_agrees_with_the_python_library(tokenizers, algorithm):
    tokenizer = tokenizers[algorithm]
    processor = sentencepiece.SentencePieceProcessor(
        model_proto=tokenizer.files()["sentencepiece.model"]
    )
    texts = [*documents()[:20], "  unseen words,\n\n\t漢字 😀 </s>"]
    assert tokenizer.tokenize(tf.constant(texts)).to_list() == [
        processor.encode(text) for text in texts
    ]
    assert tokenizer.vocabulary_size == 300


@ALGORITHMS
def test_training_is_deterministic(tokenizers, algorithm):
    again = build_tokenizer(config(algorithm), iter(documents()))
    assert again.fingerprint == tokenizers[algorithm].fingerprint


@ALGORITHMS
def test_newline_is_one_id_and_never_within_a_piece(tokenizers, algorithm):
    tokenizer = tokenizers[algorithm]
    assert tokenizer.tokenize(tf.constant(["\n", "\n\n"])).to_list() == [[5], [5, 5]]
    pieces = tokenizer.pieces.numpy().tolist()
    assert [i for i, piece in enumerate(pieces) if b"\n" in piece] == [
        5,
        6 + 10,
    ]  # the symbol and the byte
    assert pieces[6 : 6 + 256] == [bytes([value]) for value in range(256)]


@ALGORITHMS
def test_u2581_is_the_one_exception(tokenizers, algorithm):
    tokenizer = tokenizers[algorithm]
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant(["a\u2581b"]))).numpy().tolist() == [
        b"a b"
    ]


@ALGORITHMS
def test_long_lines_and_block_elements_are_learned_from(algorithm):
    """SentencePiece by itself skips lines above 4,192 bytes and lines with U+2585."""
    text = "\u2585天地" + "天地玄黄" * 2_000
    tokenizer = build_tokenizer(TokenizerConfig(algorithm=algorithm, vocabulary_size=267), [text])
    assert {"天", "地", "玄", "黄"} <= {
        piece.decode("utf-8", "replace") for piece in tokenizer.pieces.numpy()
    }


@ALGORITHMS
def test_the_largest_possible_vocabulary_is_named_and_possible(algorithm):
    def build(size):
        return build_tokenizer(
            TokenizerConfig(algorithm=algorithm, vocabulary_size=size), documents()
        )

    with pytest.raises(
        UserError, match=r"^--tokenizer.vocabulary_size=9000: this text gives at most \d+ pieces"
    ) as e:
        build(9_000)
    assert "\n" not in str(e.value)
    largest = int(re.search(r"at most (\d+)", str(e.value))[1])
    assert build(largest).vocabulary_size == largest


@ALGORITHMS
def test_too_small_vocabularies_are_named(algorithm):
    with pytest.raises(
        UserError, match=r"^--tokenizer.vocabulary_size=100: .* need at least 2\d\d; raise it"
    ):
        build_tokenizer(TokenizerConfig(algorithm=algorithm, vocabulary_size=100), documents())


def test_nothing_but_what_sentencepiece_skips_is_no_text():
    with pytest.raises(UserError, match=r"there is no text to learn pieces from"):
        build_tokenizer(TokenizerConfig(vocabulary_size=300), ["\u2585\n\u2585"])


def test_foreign_and_damaged_models_are_refused():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(documents()),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r"starts with .*; expected <pad> <unk> <s> </s> <sep>"):
        SentencePieceTokenizer(model.getvalue())
    with pytest.raises(UserError, match=r"not a SentencePiece model"):
        SentencePieceTokenizer(b"junk")


def test_one_of_two_equal_tokenizers_outlives_the_other(tmp_path):
    first = build_tokenizer(config("unigram"), documents())
    second = type(first).from_files(first.files())
    expected = first.tokenize(tf.constant(["the cat"])).to_list()
    del first
    gc.collect()
    assert second.tokenize(tf.constant(["the cat"])).to_list() == expected


@pytest.mark.parametrize(
    "forget", [lambda: tf.random.set_seed(1), keras.utils.clear_session], ids=["seed", "session"]
)
def test_lives_on_when_tensorflow_forgets_its_kernels(tokenizers, forget):
    tokenizer = tokenizers["unigram"]
    graph = tf.function(
        lambda texts: tokenizer.detokenize(tokenizer.tokenize(texts)), autograph=False
    )
    texts = tf.constant(["the cat", "漢字"])
    assert graph(texts).numpy().tolist() == texts.numpy().tolist()
    forget()
    assert graph(texts).numpy().tolist() == texts.numpy().tolist()
    assert (
        tokenizer.detokenize(tokenizer.tokenize(texts)).numpy().tolist() == texts.numpy().tolist()
    )
