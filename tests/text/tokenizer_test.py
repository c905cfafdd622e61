"""What holds for every kind of tokenizer."""

import errno
import hashlib
import json
import pickle
import random

import numpy as np
import pytest
import tensorflow as tf

from tests.text.conftest import KINDS, config, documents
from tf_textgen.errors import UserError
from tf_textgen.text import build_tokenizer, load_tokenizer
from tf_textgen.text.tokenizer import repair_utf8

HARD_TEXTS = [
    "",
    " ",
    "   three  spaces   ",
    "\n",
    "\n\n a\n b \n",
    "\t\ttabs\t and \r\n returns\r",
    "天地玄黃，宇宙洪荒。",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u0301\u0308 ﷺ",
    "\u200b\ufeff\u2028\u3000\u00a0",
    "\ufeff byte order mark",
    "\0 nul \x1b\x7f",
    "<s> </s> <pad> <unk> <sep> <0x0A></s>",
    "\U0010ffff\ufffe\uffff\ufffd",
    "\u2585",
]
INVALID = [
    b"\xff\xfe ok",
    b"cut \xe4\xb8",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf5\x80\x80\x80",
    b"a\x80b",
]
MARKUP = [
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    "<sep>",
    "x</s>y",
    "<s><s>",
    "<0x0A>",
    "</s> <sep>\n<pad>",
]


def random_texts(count: int) -> list[str]:
    generator = random.Random(3)
    ranges = [
        (0, 0x7F),
        (0x80, 0x7FF),
        (0x800, 0xD7FF),
        (0xE000, 0xFFFF),
        (0x10000, 0x10FFFF),
        (0x4E00, 0x9FFF),
    ]

    def character() -> str:
        return chr(generator.randint(*generator.choice(ranges)))

    texts = ["".join(character() for _ in range(generator.randrange(40))) for _ in range(count)]
    return [text.replace("\u2581", "") for text in texts]


def round_trip(tokenizer, texts):
    return tokenizer.detokenize(tokenizer.tokenize(tf.constant(texts, tf.string))).numpy().tolist()


def test_hard_and_random_texts_come_back_exactly(exact_tokenizer):
    texts = HARD_TEXTS + random_texts(300)
    assert round_trip(exact_tokenizer, texts) == [text.encode() for text in texts]


def test_joined_pieces_are_the_text(exact_tokenizer):
    texts = HARD_TEXTS + random_texts(50)
    ids = exact_tokenizer.tokenize(tf.constant(texts)).to_list()
    pieces = exact_tokenizer.pieces.numpy()
    assert [b"".join(pieces[row].tolist()) if row else b"" for row in ids] == [
        text.encode() for text in texts
    ]


@pytest.mark.parametrize("kind", ["unigram", "bpe", "characters", "words"])
def test_invalid_utf8_counts_as_replacement_characters(tokenizers, kind):
    repaired = [text.decode("utf-8", "replace") for text in INVALID]
    tokenize = tokenizers[kind].tokenize
    assert tokenize(tf.constant(INVALID)).to_list() == tokenize(tf.constant(repaired)).to_list()


def test_repair_utf8_does_what_python_does():
    assert repair_utf8(tf.constant(INVALID)).numpy().tolist() == [
        text.decode("utf-8", "replace").encode() for text in INVALID
    ]


def test_markup_typed_by_a_person_never_gives_a_special_id(tokenizers):
    for kind, tokenizer in tokenizers.items():
        special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.sep_id}
        if kind not in ("characters", "words"):  # there, what the vocabulary lacks is <unk>
            special.add(tokenizer.unk_id)
        assert not special & set(
            tokenizer.tokenize(tf.constant(MARKUP)).flat_values.numpy().tolist()
        ), kind


@pytest.mark.parametrize("kind", KINDS)
def test_markup_in_the_training_text_never_gives_a_special_id(kind):
    tokenizer = build_tokenizer(config(kind), [*documents(), *MARKUP * 30])
    assert tokenizer.tokenize(tf.constant(MARKUP)).flat_values.numpy().min() > tokenizer.sep_id


def test_pickling(tokenizer):
    other = pickle.loads(pickle.dumps(tokenizer))
    texts = tf.constant(["the cat", "", "天地 q"])
    assert other is not tokenizer and other.fingerprint == tokenizer.fingerprint
    assert other.tokenize(texts).to_list() == tokenizer.tokenize(texts).to_list()


def test_shapes_and_types(tokenizer):
    tokens = tokenizer.tokenize(tf.constant(["the cat", ""]))
    assert (tokens.dtype, tokens.row_splits.dtype, tokens.shape.as_list()) == (
        tf.int32,
        tf.int64,
        [2, None],
    )
    assert tokens.row_lengths().numpy()[1] == 0
    assert (
        tokenizer.pad_id,
        tokenizer.unk_id,
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.sep_id,
    ) == (0, 1, 2, 3, 4)
    assert tokenizer.pieces.shape == [tokenizer.vocabulary_size]
    assert tokenizer.pieces.numpy()[:5].tolist() == [b"<pad>", b"<unk>", b"<s>", b"</s>", b"<sep>"]
    assert b"\n" in tokenizer.pieces.numpy()


def test_no_rows_and_no_columns(tokenizer):
    tokens = tokenizer.tokenize(tf.zeros([0], tf.string))
    assert tokens.to_list() == [] and tokens.dtype == tf.int32
    assert tokenizer.detokenize(tokens).shape == [0]
    assert tokenizer.detokenize(tf.zeros([0, 4], tf.int32)).shape == [0]
    assert tokenizer.detokenize(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]


def test_special_and_impossible_ids_are_dropped(tokenizer):
    texts = tf.constant(["the cat sat", "", "hat\nthe cat"])
    expected = tokenizer.detokenize(tokenizer.tokenize(texts)).numpy().tolist()
    assert expected == texts.numpy().tolist()
    noise = [0, 1, 2, 3, 4, -1, tokenizer.vocabulary_size, 2**31 - 1, -(2**31)]
    noisy = []
    for index, row in enumerate(tokenizer.tokenize(texts).to_list()):
        at = [3 * place % (len(row) + 1) + place for place in range(len(noise))]
        for place, extra in zip(at, noise, strict=True):
            row.insert(place, extra)
        noisy.append(row + [0] * index)
    ragged = tf.ragged.constant(noisy, dtype=tf.int32)
    width = max(map(len, noisy))
    left_padded = [[0] * (width - len(row)) + row for row in noisy]
    assert tokenizer.detokenize(ragged).numpy().tolist() == expected
    assert tokenizer.detokenize(ragged.with_row_splits_dtype(tf.int32)).numpy().tolist() == expected
    assert tokenizer.detokenize(ragged.to_tensor(0)).numpy().tolist() == expected
    assert tokenizer.detokenize(tf.constant(left_padded, tf.int64)).numpy().tolist() == expected
    assert tokenizer.detokenize(tf.constant([[2**32 + 5]], tf.int64)).numpy().tolist() == [b""]


def test_every_single_id_gives_its_piece(tokenizer):
    ids = np.arange(tokenizer.vocabulary_size)[:, None]
    texts = tokenizer.detokenize(tf.constant(ids)).numpy().tolist()
    pieces = tokenizer.pieces.numpy().tolist()
    assert texts[:5] == [b""] * 5
    for text, piece in zip(texts[5:], pieces[5:], strict=True):
        # A lone byte of SentencePiece that is no character is shown as U+FFFD.
        assert text == (
            piece if tokenizer.kind == "bytes" else piece.decode("utf-8", "replace").encode()
        )


def test_a_text_cut_anywhere_is_joined_again(tokenizer):
    text = documents()[0].replace("\t", " ") + "\n\nthe cat\n"
    tokens = tokenizer.tokenize(tf.constant([text])).to_list()[0]
    cuts = range(len(tokens) + 1)
    if tokenizer.kind == "sentencepiece":  # a part of a character is U+FFFD there
        pieces = tokenizer.pieces.numpy()
        cuts = [cut for cut in cuts if all(pieces[i].isascii() for i in tokens[cut - 1 : cut + 1])]
    before = tokenizer.detokenize(tf.ragged.constant([tokens[:cut] for cut in cuts], tf.int32))
    after = tf.ragged.constant([tokens[cut:] for cut in cuts], tf.int32)
    whole = tf.strings.join([before, tokenizer.continue_texts(before, after)])
    assert set(whole.numpy().tolist()) == {text.encode()}
    assert len(cuts) > 15


def test_in_a_function_and_in_a_dataset(tokenizer):
    texts = ["the cat", "", "hat </s> sat"]
    expected = tokenizer.tokenize(tf.constant(texts)).to_list()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def both(texts):
        tokens = tokenizer.tokenize(texts)
        return (
            tokens,
            tokenizer.detokenize(tokens),
            tokenizer.detokenize(tokens.to_tensor(tokenizer.pad_id)),
        )

    tokens, ragged, padded = both(tf.constant(texts))
    assert tokens.to_list() == expected
    assert ragged.numpy().tolist() == padded.numpy().tolist() == round_trip(tokenizer, texts)
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(tokenizer.tokenize)
    assert [row for batch in dataset for row in batch.to_list()] == expected


def test_all_tokenizers_in_one_saved_model(tokenizers, tmp_path):
    """Two of SentencePiece in one SavedModel swap their models if they share a name."""
    module = tf.Module()
    module.tokenizers = dict(tokenizers)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def tokenize(texts):
        return {
            kind: each.tokenize(texts).to_tensor(-1) for kind, each in module.tokenizers.items()
        }

    @tf.function(
        input_signature=[{kind: tf.TensorSpec([None, None], tf.int32) for kind in tokenizers}],
        autograph=False,
    )
    def detokenize(tokens):
        return {kind: each.detokenize(tokens[kind]) for kind, each in module.tokenizers.items()}

    module.tokenize, module.detokenize = tokenize, detokenize
    texts = tf.constant(["the cat sat 天地", "", "</s> naïve 😀\n"])
    expected = {kind: each.tokenize(texts).to_tensor(-1) for kind, each in tokenizers.items()}
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    ids = loaded.tokenize(texts)
    back = loaded.detokenize(ids)
    assert not np.array_equal(ids["unigram"], ids["bpe"])
    for kind, tokenizer in tokenizers.items():
        np.testing.assert_array_equal(ids[kind], expected[kind])
        np.testing.assert_array_equal(back[kind], tokenizer.detokenize(expected[kind]))
    assert loaded.tokenize(texts[:0])["bpe"].shape[0] == 0


def test_save_and_load(tokenizer, tmp_path):
    folder = tmp_path / "run" / "tokenizer"
    tokenizer.save(folder)
    tokenizer.save(folder)
    loaded = load_tokenizer(str(folder))
    texts = tf.constant(HARD_TEXTS)
    assert loaded.tokenize(texts).to_list() == tokenizer.tokenize(texts).to_list()
    assert loaded.fingerprint == tokenizer.fingerprint and len(loaded.fingerprint) == 64
    assert loaded.kind == tokenizer.kind and type(loaded) is type(tokenizer)
    np.testing.assert_array_equal(loaded.pieces, tokenizer.pieces)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*tokenizer.files(), "tokenizer.json"]
    )


def test_fingerprint_is_the_hash_of_kind_and_files(tokenizer):
    digest = hashlib.sha256(f"{tokenizer.kind}\n".encode())
    for name, content in tokenizer.files().items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    assert tokenizer.fingerprint == digest.hexdigest()


def test_a_failed_save_leaves_the_old_files(tokenizers, tmp_path, monkeypatch):
    tokenizers["words"].save(tmp_path)

    def fail(source, target):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        tokenizers["characters"].save(tmp_path)
    monkeypatch.undo()
    assert load_tokenizer(tmp_path).fingerprint == tokenizers["words"].fingerprint
    assert len(list(tmp_path.iterdir())) == 2


def test_load_refuses_what_is_not_whole(tokenizers, tmp_path):
    def describe(**changes):
        tokenizers["words"].save(tmp_path)
        description = json.loads((tmp_path / "tokenizer.json").read_text())
        (tmp_path / "tokenizer.json").write_text(json.dumps(description | changes))

    with pytest.raises(UserError, match=r"no tokenizer in .*No such file.*build_vocab"):
        load_tokenizer(tmp_path / "absent")
    describe(format_version=99)
    with pytest.raises(UserError, match=r"has format 99; this tf_textgen reads 1"):
        load_tokenizer(tmp_path)
    for damage in ({"kind": 3}, {"files": None}):
        describe(**damage)
        with pytest.raises(UserError, match=r"does not describe a tokenizer"):
            load_tokenizer(tmp_path)
    describe()
    (tmp_path / "vocabulary.json").write_bytes(b'["cat"]')
    with pytest.raises(UserError, match=r"changed or is incomplete"):
        load_tokenizer(tmp_path)
    describe()
    (tmp_path / "vocabulary.json").unlink()
    with pytest.raises(UserError, match=r"no tokenizer in .*vocabulary\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match=r"does not describe a tokenizer"):
        load_tokenizer(tmp_path)


def test_numpy_arrays_are_taken(tokenizer):
    texts = ["the cat sat", "hat"]
    tokens = tokenizer.tokenize(np.array(texts, object))
    assert tokens.to_list() == tokenizer.tokenize(tf.constant(texts)).to_list()
    assert tokenizer.tokenize(np.array([], object)).to_list() == []
    padded = tokens.to_tensor(0).numpy().astype(np.uint16)
    assert tokenizer.detokenize(padded).numpy().tolist() == [text.encode() for text in texts]


def test_wrong_shapes_and_types_are_named(tokenizer):
    with pytest.raises(UserError, match=r"texts of shape \(\); expected a vector \[B\]"):
        tokenizer.tokenize(tf.constant("one"))
    with pytest.raises(
        UserError, match=r"int32 tokens of shape \(3,\); expected integers \[B, T\]"
    ):
        tokenizer.detokenize(tf.constant([1, 2, 3]))
    with pytest.raises(UserError, match=r"float32 tokens"):
        tokenizer.detokenize(tf.constant([[1.0]]))
