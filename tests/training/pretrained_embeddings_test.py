"""Word vectors in the tables of models: which rows, what stays, what is frozen."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_models
from tests.support.data_files import write
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dataset import open_corpus
from tf_textgen.errors import UserError
from tf_textgen.jobs import main
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.embedding_config import EmbeddingConfig
from tf_textgen.runs.run_folder import load_run
from tf_textgen.text.words import WordTokenizer
from tf_textgen.training.pretrained_embeddings import load_word_vectors, vectors_digest, words_of

WORDS = ["\n", "cat", "Dog", "MAT", "bird"]
TOKENIZER = WordTokenizer(WORDS)
SIDES = {"source": TOKENIZER, "target": TOKENIZER}
ROWS = {"cat": [1, 2, 3, 4], "Dog": [5, 5, 5, 5], "dog": [6, 6, 6, 6], "mat": [7, 7, 7, 7]}
VECTORS = "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in ROWS.items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def path(folder):
    return write(folder / "vectors.txt", VECTORS)


@pytest.fixture(scope="module")
def train(folder):
    config = DataConfig(
        train=(write(folder / "text.txt", "cat Dog\ncat bird unseen\n"),), documents="line"
    )
    config = DataConfig(
        train=config.train,
        documents="line",
        validation_fraction=0.0,
        cache_dir=str(folder / "cache"),
    )
    return open_corpus(config, TOKENIZER)["train"]


@pytest.fixture(scope="module")
def train_pairs(folder):
    rows = write(folder / "pairs.tsv", "cat cat\tbird\nbird\tDog\n")
    config = DataConfig(
        train=(rows,), format="tsv", validation_fraction=0.0, cache_dir=str(folder / "cache")
    )
    return open_corpus(config, TOKENIZER)["train"]


def language_model(width=4):
    return tiny_models.model("transformer_lm", TOKENIZER.vocabulary_size, embedding_width=width)


@pytest.fixture(scope="module")
def encoder_decoder():
    return tiny_models.model("rnn_seq2seq", TOKENIZER.vocabulary_size, embedding_width=4)


def expected_table(before):
    """The rows of cat, Dog and MAT (which only the lower-cased word matches), all others as they
    were.
    """
    after = before.copy()
    after[6], after[7], after[8] = ROWS["cat"], ROWS["Dog"], ROWS["mat"]
    return after


def test_found_rows_are_set_and_missing_ones_keep_their_start(path, train):
    model = language_model()
    before = model.embedding.table.numpy()
    (coverage,) = load_word_vectors(model, path, "all", SIDES, train)
    np.testing.assert_array_equal(model.embedding.table.numpy(), expected_table(before))
    # Of newline, cat, Dog, MAT and bird three; of cat Dog cat bird <unk> three.
    assert coverage == ("embedding", 3, 5, 3 / 5)
    assert (
        str(coverage)
        == "embedding: 3 of 5 ids (60.0%) and 60.0% of the training tokens begin with a word vector"
    )


@pytest.mark.parametrize("side", ["all", "source", "target"])
def test_sides_of_an_encoder_decoder(encoder_decoder, path, train_pairs, side):
    model, before = (
        encoder_decoder,
        {"source": np.full((10, 4), 0.5), "target": np.full((10, 4), 0.25)},
    )
    for name, table in before.items():
        getattr(model, f"{name}_embedding").table.assign(table)
    coverage = load_word_vectors(model, path, side, SIDES, train_pairs)
    shares = {"source": 2 / 3, "target": 1 / 2}  # cat cat bird; bird Dog
    changed = [name for name in before if side in ("all", name)]
    assert coverage == [(f"{name}_embedding", 3, 5, shares[name]) for name in changed]
    for name, table in before.items():
        after = getattr(model, f"{name}_embedding").table.numpy()
        np.testing.assert_array_equal(after, expected_table(table) if name in changed else table)


def test_a_shared_table_reads_both_sides(path, train_pairs):
    model = tiny_models.model(
        "rnn_seq2seq", TOKENIZER.vocabulary_size, embedding_width=4, shared_embeddings=True
    )
    assert load_word_vectors(model, path, "all", SIDES, train_pairs) == [
        ("target_embedding", 3, 5, 3 / 5)
    ]
    assert model.embedding_tables("source") == {"target_embedding": model.source_embedding}


def test_pieces_of_sentencepiece_lose_their_space():
    pieces = [
        b"<pad>",
        b"<unk>",
        b"<s>",
        b"</s>",
        b"<sep>",
        b" cat",
        b"s",
        b" ",
        b"\xc3",
        "é ".encode(),
    ]
    ids = dict(zip(("pad_id", "unk_id", "bos_id", "eos_id", "sep_id"), range(5), strict=True))
    tokenizer = types.SimpleNamespace(pieces=tf.constant(pieces), **ids)
    assert words_of(tokenizer) == [None] * 5 + ["cat", "s", None, None, "é"]


@pytest.mark.parametrize(
    ("model", "side", "content", "message"),
    [
        (
            language_model,
            "all",
            "cat 1 2\n",
            "vectors of width 2, expected 4, the width of the embedding; set the mod",
        ),
        (
            language_model,
            "all",
            "kat 1 2 3 4\n",
            "none of its 1 words is one of the 10 pieces of the embedding; expec",
        ),
        (
            language_model,
            "source",
            VECTORS,
            "--embedding.side=source with --model=transformer_lm: this model has no s",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, train, model, side, content, message):
    with pytest.raises(UserError) as caught:
        load_word_vectors(model(), write(tmp_path / "x.txt", content), side, SIDES, train)
    assert message in str(caught.value)


def test_files_that_are_not_there():
    with pytest.raises(
        UserError, match=r"--embedding.file=/no/such: no such file; expected a path"
    ):
        vectors_digest(EmbeddingConfig(file="/no/such"))
    assert vectors_digest(EmbeddingConfig()) is None


def test_several_files_are_refused(folder, path, train):
    with pytest.raises(UserError, match=r"names 2 files, expected one; give its own name"):
        vectors_digest(EmbeddingConfig(file=str(folder / "*.txt")))


def test_a_keras_file_keeps_what_is_frozen(tmp_path):
    model = language_model()
    model.freeze(model.embedding_tables())
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    names = [variable.path for variable in loaded.trainable_variables]
    assert names == [variable.path for variable in model.trainable_variables]
    assert len(names) == len(loaded.variables) - 1 and not any(
        "embedding" in name for name in names
    )
    np.testing.assert_array_equal(loaded.embedding.table, model.embedding.table)


def arguments(folder, run, *more):
    text = write(folder / "long.txt", "cat Dog bird MAT none\n\n" * 40)
    flags = [
        f"--data.train={text}",
        f"--data.cache_dir={folder}",
        f"--run.dir={run}",
        "--tokenizer.kind=words",
    ]
    flags += [
        f"--transformer_lm.{field}"
        for field in ("num_layers=1", "num_heads=2", "width=8", "max_positions=16")
    ]
    flags += [
        "--transformer_lm.embedding_width=4",
        "--data.context=16",
        "--data.batch_size=4",
        "--run.xla=off",
    ]
    return [
        "train",
        *flags,
        "--run.samples=0",
        "--optimizer.learning_rate=0.1",
        "--optimizer.schedule=constant",
        *more,
    ]


def test_a_frozen_table_stays_through_training_and_resumption(folder, path, tmp_path, capsys):
    run = tmp_path / "run"
    vectors = [f"--embedding.file={path}", "--embedding.trainable=false"]
    assert main(arguments(folder, run, *vectors, "--run.steps=2")) == 0
    assert "begin with a word vector" in capsys.readouterr().out
    first = load_run(run, 2)
    before = first.model.embedding.table.numpy()
    words = {word: index for index, word in enumerate(words_of(first.tokenizer)) if word}
    np.testing.assert_array_equal(
        before[[words[word] for word in ("cat", "Dog", "MAT")]], [[1, 2, 3, 4], [5] * 4, [7] * 4]
    )
    moved = tmp_path / "moved" / "vectors.txt"
    moved.parent.mkdir()
    write(moved, VECTORS)
    assert (
        main(arguments(folder, run, f"--embedding.file={moved}", vectors[1], "--run.steps=4")) == 0
    )
    assert "begin with a word vector" not in capsys.readouterr().out
    last = load_run(run, 4)
    np.testing.assert_array_equal(last.model.embedding.table, before)
    assert not np.allclose(last.model.input_projection.kernel, first.model.input_projection.kernel)
    optimizer = tf.train.load_checkpoint(
        str(Checkpoints(run / "checkpoints").folder(4) / "optimizer")
    )
    names = " ".join(optimizer.get_variable_to_shape_map())
    assert (
        "input_projection" in names
        and "embedding_table" not in names
        and "embedding/table" not in names
    )
    write(moved, VECTORS + "new 1 2 3 4\n")
    for flags, said in (
        ([f"--embedding.file={moved}", vectors[1]], "vectors.size is "),
        (vectors[:1], "embedding.trainable is false there, true here"),
        ([], 'vectors is {"name": "vectors.txt"'),
    ):
        assert main(arguments(folder, run, *flags, "--run.steps=6")) == 2
        assert said in capsys.readouterr().err


@pytest.mark.thorough
def test_a_table_that_is_trained_moves(folder, path, tmp_path):
    assert (
        main(arguments(folder, tmp_path / "run", f"--embedding.file={path}", "--run.steps=1")) == 0
    )
    run = load_run(tmp_path / "run")
    cat = words_of(run.tokenizer).index("cat")
    moved = np.abs(run.model.embedding.table.numpy()[cat] - ROWS["cat"])
    assert 0 < moved.max() < 0.5  # one step of 0.1
