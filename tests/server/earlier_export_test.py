"""An export by an earlier version, which has `serving_default`, `generate` and `score` alone, works
as it did.
"""

import re

import pytest

from tests.server.toy_export import expected, toy_folder
from tf_textgen.client.rest_client import Client, InvalidRequest
from tf_textgen.jobs import main


@pytest.fixture(scope="module")
def toy_root(tmp_path_factory):
    """What `server` serves here."""
    return toy_folder(tmp_path_factory, "earlier", earlier=True)


@pytest.fixture
def texts(server):
    with Client(server.url, "earlier") as made:
        yield made


def test_what_it_has_is_answered(texts, client):
    assert texts.metadata().signatures.keys() == {"generate", "score", "serving_default"}
    first, second = texts.generate(["x", "从"], seed=2, max_new_tokens=4, num_samples=1)
    assert (first.text, second.text, first.token_texts, first.token_count) == (
        *[expected(2, 4)] * 2,
        (),
        4,
    )
    (score,) = texts.score("ab从")
    assert (score.log_probability, score.token_texts, score.truncated) == (
        -1.5,
        ("a", "b", "从"),
        False,
    )
    assert client.post("/v1/models/earlier:predict", {"instances": ["x"]}).json == {
        "predictions": ["xa"]
    }
    answer = client.post("/v1/completions", {"prompt": "x", "seed": 2, "max_tokens": 4})
    assert answer.json["choices"][0]["text"] == expected(2, 4)


def test_what_it_has_not_is_told(texts, client):
    asked = {
        "generate_chunk": lambda: list(texts.stream("x")),
        "beam_search": lambda: texts.beam_search("x"),
        "embed": lambda: texts.embed("x"),
    }
    for name, ask in asked.items():
        said = f"earlier: version 1 has no signature '{name}', but generate, score, serving_default; expected an export"
        with pytest.raises(InvalidRequest, match=re.escape(said)):
            ask()
    with pytest.raises(
        InvalidRequest, match=r"^top_p=0.5: the signature 'generate' of this model takes no top_p"
    ):
        texts.generate("x", top_p=0.5)
    for field, value, said in (
        (
            "stream",
            True,
            "stream: this export has no signature generate_chunk; export again, or leave it out",
        ),
        ("logprobs", 0, "logprobs: this export gives no tokens; export again, or leave it out"),
    ):
        answer = client.post("/v1/completions", {"prompt": "x", field: value})
        assert (answer.code, answer.json["error"]["message"], answer.json["error"]["param"]) == (
            400,
            said,
            field,
        )


@pytest.mark.parametrize("is_served", [True, False])
def test_generate_continues_prompts(toy_root, server, capsys, is_served):
    place = (
        [f"--server={server.url}", "--server_model=earlier"]
        if is_served
        else [f"--saved_model={toy_root}"]
    )
    wish = ["--decoding.seed=2", "--decoding.max_new_tokens=4", "--prompt=x", "--prompt=从"]
    assert main(["generate", *place, *wish]) == 0
    assert capsys.readouterr().out.splitlines() == ["x" + expected(2, 4), "从" + expected(2, 4)]
    assert main(["generate", *place, *wish, "--decoding.top_p=0.5"]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "--decoding.top_p=0.5: " in error and "leave it out" in error
