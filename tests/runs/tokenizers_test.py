"""Which tokenizer a run has for which side, and what is refused."""

from types import SimpleNamespace

import pytest

from tests.support.data_files import write
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.runs import recipe, tokenizers
from tf_textgen.runs.run_folder import RunFolder
from tf_textgen.text import build_tokenizer, load_tokenizer
from tf_textgen.text.tokenizer_config import TokenizerConfig

WORDS = TokenizerConfig(kind="words")


@pytest.fixture
def data(tmp_path):
    return DataConfig(train=(write(tmp_path / "d.tsv", "hi you\thello me\n"),), format="dialogue")


def recipe_of(tokenizer, data, **folders):
    given = {"tokenizer_dir": None, "source_tokenizer_dir": None, **folders}
    return SimpleNamespace(tokenizer=tokenizer, data=data, **given)


def pieces(tokenizer):
    return [piece.decode() for piece in tokenizer.pieces.numpy()[5:]]


def test_speakers_are_tokens_by_themselves(data):
    assert pieces(tokenizers.make_tokenizer(WORDS, data, None))[:3] == ["\n", "<A>", "<B>"]
    spelled = tokenizers.make_tokenizer(TokenizerConfig(kind="characters"), data, None)
    assert spelled.detokenize(spelled.tokenize(["<A> hi"])).numpy().tolist() == [b"<A> hi"]


def test_sides_have_vocabularies_of_their_own(data, tmp_path):
    separate = TokenizerConfig(kind="words", shared=False)
    with RunFolder(tmp_path / "run") as folder:
        target, source = tokenizers.run_tokenizers(recipe_of(separate, data), folder)
        assert sorted(pieces(target)) == ["\n", "hello", "me"]
        assert sorted(pieces(source)) == ["\n", "<A>", "<B>", "hello", "hi", "me", "you"]
        for name, made in (("tokenizer", target), ("source_tokenizer", source)):
            assert load_tokenizer(folder.path / name).fingerprint == made.fingerprint
        shared, none = tokenizers.run_tokenizers(recipe_of(WORDS, data), folder)
        assert none is None and shared.fingerprint == source.fingerprint


def test_one_may_bring_either(data, tmp_path):
    separate = TokenizerConfig(kind="words", shared=False)
    own = build_tokenizer(TokenizerConfig(kind="bytes"), [])
    own.save(tmp_path / "own")
    with RunFolder(tmp_path / "run") as folder:
        brought = recipe_of(separate, data, source_tokenizer_dir=str(tmp_path / "own"))
        target, source = tokenizers.run_tokenizers(brought, folder)
    assert (target.kind, source.kind) == ("words", "bytes")


@pytest.mark.parametrize(
    ("config", "form", "source_dir", "message"),
    [
        (
            TokenizerConfig(),
            "tsv",
            "there",
            r"--source_tokenizer.dir=there with a shared .*expected --tokenizer.shared=",
        ),
        (
            TokenizerConfig(shared=False),
            "text",
            None,
            r"shared=false with --data.format=text: expected pairs",
        ),
    ],
)
def test_tokenizers_without_a_use_are_refused(config, form, source_dir, message):
    with pytest.raises(UserError, match=message):
        recipe.check_sides(config, DataConfig(format=form), source_dir)


def test_speakers_unknown_to_a_tokenizer_are_an_error(data, tmp_path):
    build_tokenizer(WORDS, ["hi you"]).save(tmp_path / "words")
    with (
        RunFolder(tmp_path / "run") as folder,
        pytest.raises(
            UserError,
            match=r"the words tokenizer of --tokenizer.dir=.*words has no <A> and <B>: .*leave",
        ),
    ):
        tokenizers.run_tokenizers(
            recipe_of(WORDS, data, tokenizer_dir=str(tmp_path / "words")), folder
        )


def test_speakers_spelled_out_are_told(data, tmp_path, capsys):
    config = TokenizerConfig(vocabulary_size=268)
    build_tokenizer(config, ["a b c d e"]).save(tmp_path / "pieces")
    with RunFolder(tmp_path / "run") as folder:
        tokenizers.run_tokenizers(
            recipe_of(config, data, tokenizer_dir=str(tmp_path / "pieces")), folder
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: the tokenizer of --tokenizer.dir=")
    assert "spells out <A> and <B>; build_vocab with --data.format=dialogue makes" in line


def test_a_vocabulary_too_small_for_the_speakers_is_an_error(data, tmp_path):
    config = TokenizerConfig(kind="characters", vocabulary_size=8)
    with (
        RunFolder(tmp_path / "run") as folder,
        pytest.raises(
            UserError,
            match=r"characters tokenizer of the training files has no .*enlarge the vocabulary",
        ),
    ):
        tokenizers.run_tokenizers(recipe_of(config, data), folder)
