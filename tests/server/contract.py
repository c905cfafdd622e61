"""What a client must give of any server and any model.

A test file imports these and defines the fixture `connect`: it makes a client of a served model, a
client of `model` if that is given. The model may be anything, so nothing here knows its texts.
"""

import concurrent.futures
import dataclasses
import math

import pytest

from tf_textgen.client import repeating, text_client
from tf_textgen.client.rest_client import InvalidRequest, ModelNotFound

PROMPTS = ["a cat", "从前有一个🙂", "", 'naïve "quoted" \\ and\ttab\nline']
GREEDY = {"temperature": 0.0, "max_new_tokens": 12}


@pytest.fixture
def client(connect):
    with connect() as made:
        made.wait_until_ready()
        yield made


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between attempts, which take no time."""
    taken = []
    for module in (repeating, text_client):
        monkeypatch.setattr(module, "sleep", taken.append)
    return taken


def skip_without(client, name):
    if name not in client.metadata().signatures:
        pytest.skip(f"the served model has no signature {name!r}")


def test_a_ready_model_shows_its_version_and_signatures(client):
    metadata = client.metadata()
    assert any(
        status.version == metadata.version and status.state == "AVAILABLE"
        for status in client.status()
    )
    inputs = metadata.signatures["generate"].inputs
    assert (
        inputs["seed"].dtype == "DT_INT64"
        and inputs["top_p"].shape == (None,)
        and "text" not in inputs
    )
    assert {"text", "finish_reason"} <= metadata.signatures["generate"].outputs.keys()


def test_texts_come_in_the_order_of_their_prompts(client):
    alone = [client.generate(prompt, **GREEDY)[0] for prompt in PROMPTS]
    together = client.generate(PROMPTS, **GREEDY)
    assert [one.prompt for one in together] == PROMPTS and [one.rank for one in together] == [
        0
    ] * len(PROMPTS)
    for one, other in zip(alone, together, strict=True):
        assert (one.text, one.token_texts, one.finish_reason) == (
            other.text,
            other.token_texts,
            other.finish_reason,
        )
        assert one.token_count == len(one.token_texts) == len(one.token_log_probabilities) <= 12
        assert math.isclose(one.score, sum(one.token_log_probabilities), rel_tol=1e-3, abs_tol=1e-3)
    assert client.generate([]) == []


def test_samples_have_seeds_of_their_own_and_the_first_keeps_the_seed(client):
    wish = {"max_new_tokens": 12, "seed": 5}
    samples = client.generate(["one", "two"], num_samples=3, **wish)
    assert [(one.prompt, one.sample) for one in samples] == [
        (p, s) for p in ("one", "two") for s in range(3)
    ]
    assert [samples[0].text, samples[3].text] == [
        one.text for one in client.generate(["one", "two"], **wish)
    ]
    assert len({one.text for one in samples[:3]}) > 1


def test_stop_strings_end_texts(client):
    whole = client.generate("stop here", **GREEDY)[0].text
    stop = whole[4:6]
    (stopped,) = client.generate("stop here", **GREEDY, stop=["never\x00never", stop])
    assert stopped.text == whole[: whole.index(stop)] and stopped.finish_reason == "stop"


def test_a_parameter_out_of_its_bounds_is_named(client):
    with pytest.raises(
        InvalidRequest, match=r"^temperature=-1.0: expected a finite value >= 0$"
    ) as raised:
        client.generate(PROMPTS, temperature=-1)
    assert raised.value.parameter == "temperature"
    with pytest.raises(
        InvalidRequest, match=r"^max_new_tokens=1000000: expected an integer from 1 to \d+$"
    ):
        client.generate("a", max_new_tokens=10**6)


def test_without_a_wish_the_text_is_as_long_as_the_export_allows(client):
    assert client.generate("a", temperature=0)[0].token_count >= 1


def test_a_stream_gives_the_text_of_generate(client):
    skip_without(client, "generate_chunk")
    for prompt in PROMPTS:
        for wish in (GREEDY, {"seed": 3, "max_new_tokens": 20}):
            (whole,) = client.generate(prompt, **wish)
            stream = client.stream(prompt, chunk_tokens=3, **wish)
            pieces = list(stream)
            assert "".join(pieces) == whole.text and all(pieces)
            ended = stream.completion
            assert math.isclose(ended.score, whole.score, rel_tol=1e-3, abs_tol=1e-3)
            untold = {"score": 0.0, "token_log_probabilities": (), "token_texts": ()}
            assert dataclasses.replace(ended, **untold) == dataclasses.replace(whole, **untold)


def test_a_stream_tells_of_bad_parameters(client):
    skip_without(client, "generate_chunk")
    with pytest.raises(InvalidRequest, match=r"^temperature=-1.0: expected a finite value >= 0$"):
        list(client.stream("a", temperature=-1))


def test_the_best_texts_of_a_beam_are_in_order(client):
    skip_without(client, "beam_search")
    found = client.beam_search(PROMPTS, max_new_tokens=12)
    for prompt, best in zip(PROMPTS, found, strict=True):
        assert [one.prompt for one in best] == [prompt] * len(best) and best
        assert [one.rank for one in best] == list(range(len(best)))
        scores = [one.normalized_score for one in best]
        assert scores == sorted(scores, reverse=True)
    assert [best[:1] for best in found] == client.beam_search(
        PROMPTS, num_best=1, max_new_tokens=12
    )
    with pytest.raises(
        InvalidRequest, match=r"^num_best=99: expected an integer from 1 to \d+, which the export"
    ):
        client.beam_search("a", num_best=99)


def test_scores_are_sums_over_tokens(client):
    pairs = "source" in client.metadata().signatures["score"].inputs
    sources = ["a cat", "二"] if pairs else None
    for score, text in zip(
        client.score(["the cat", "猫🙂"], sources), ["the cat", "猫🙂"], strict=True
    ):
        assert score.text == text and score.token_count == len(score.token_texts) > 0
        assert math.isclose(score.log_probability, sum(score.token_log_probabilities), rel_tol=1e-3)
        assert math.isclose(
            score.perplexity, math.exp(-score.log_probability / score.token_count), rel_tol=1e-3
        )
    assert client.score([]) == []


def test_texts_survive_their_tokens(client):
    skip_without(client, "tokenize")
    texts = ["the cat", "", "从前🙂 naïve"]
    tokens = client.tokenize(texts)
    assert [len(one.ids) for one in tokens] == [len(one.texts) for one in tokens] and tokens[
        1
    ].ids == ()
    assert client.detokenize([one.ids for one in tokens]) == texts
    assert client.tokenize([]) == client.detokenize([]) == []
    with pytest.raises(
        InvalidRequest, match=r"^tokens='5 2000000000': expected ids from 0 to \d+$"
    ):
        client.detokenize([[5], [5, 2_000_000_000]])
    with pytest.raises(
        InvalidRequest, match=r"^tokens='a': expected an integer from -2147483648 to 2147483647$"
    ):
        client.detokenize(["a"])


def test_a_text_has_one_vector(client):
    skip_without(client, "embed")
    alone, (first, second) = client.embed("the cat")[0], client.embed(["the cat", "从前 naïve"])
    assert (
        len(first.vector) == len(second.vector)
        and first.vector != second.vector
        and first.token_count > 0
    )
    assert (alone.token_count, alone.truncated) == (first.token_count, first.truncated)
    assert first.vector == pytest.approx(alone.vector, abs=1e-4)


def test_a_model_that_is_not_served_is_told(connect):
    with connect(model="not_served") as client:
        for ask in (client.status, client.metadata, lambda: client.generate("a")):
            with pytest.raises(
                ModelNotFound, match=r"has no such model \(.*not_served.*\); expected a model that"
            ):
                ask()


def test_threads_share_a_client(client):
    expected = {
        seed: client.generate("a cat", seed=seed, max_new_tokens=12)[0].text for seed in range(4)
    }
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        seeds = [number % 4 for number in range(40)]
        found = threads.map(
            lambda seed: client.generate("a cat", seed=seed, max_new_tokens=12)[0].text, seeds
        )
        assert list(found) == [expected[seed] for seed in seeds]
