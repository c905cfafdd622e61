"""A real export behind a server: it answers as it does without one, also where many ask at once,
and whatever comes.
"""

import base64
import contextlib
import random
import re
import threading
import time

import numpy as np
import pytest

from tests.server.served import Client
from tf_textgen.client import rest_client as rest
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import values_of
from tf_textgen.generator.beam_decoder import beam_inputs
from tf_textgen.generator.decoder import generate_inputs

CLIENTS, SECONDS = 64, 2.0
NUMBERS = ("score", "log_probability", "perplexity", "token_log_probabilities")
PREDICT = "/v1/models/quickstart:predict"
GENERATING = ("serving_default", "generate", "generate_chunk", "beam_search")
REFUSED = {
    "temperature": (float("nan"), "expected a finite value >= 0"),
    "top_p": (2.0, "expected a value > 0 and <= 1"),
    "max_new_tokens": (10**6, "expected an integer from 1 to 64"),
}
ODD_TEXTS = [
    b"\xff\xfe\x80",
    "从".encode()[:2] + b" caf\xc3",
    b"\x00\x1f\x7f",
    b"word " * 20_000,
    b"",
]


@pytest.fixture
def server(local_server):
    return local_server("quickstart")


@pytest.fixture
def http(address_of):
    with contextlib.closing(Client(f"http://{address_of('quickstart')}")) as client:
        yield client


@pytest.fixture
def texts(address_of):
    with rest.Client(address_of("quickstart"), "quickstart") as client:
        yield client


def generate(*prompts, **wishes):
    values = values_of(DecodingConfig(**{"max_new_tokens": 10, **wishes}))
    return PREDICT, {
        "signature_name": "generate",
        "instances": [{"prompt": prompt, **values} for prompt in prompts],
    }


def refused(prompt, **wrong):
    path, body = generate(prompt)
    body["instances"][0].update(wrong)
    return path, body


def asked_for(signature, texts):
    """The inputs of a signature, a row for each text."""
    wish, rows = DecodingConfig(temperature=0.0, max_new_tokens=9), len(texts)
    if signature == "beam_search":
        return beam_inputs("prompt", texts, wish)
    if signature == "generate":
        return generate_inputs("prompt", texts, wish)
    if signature == "generate_chunk":
        return {
            **generate_inputs("prompt", texts, wish),
            "state": [""] * rows,
            "chunk_tokens": [5] * rows,
        }
    return {"tokens" if signature == "detokenize" else "text": texts}


def wishes():
    """Requests of several signatures, lengths and parameters, bad ones among them."""
    texts = ["", "a", "the cat", "从前有一个", "word " * 30]
    yield from (
        generate(text, temperature=0.0, max_new_tokens=n)
        for text, n in zip(texts, (1, 5, 9, 17, 24), strict=True)
    )
    yield from (generate(text, seed=seed, top_k=9, top_p=0.8) for seed, text in enumerate(texts))
    yield generate("a", "the cat", temperature=0.5, seed=9, repetition_penalty=1.5)
    yield generate("a", stop=("e", "猫"), seed=3)
    yield generate("x", forced_prefix="y", banned=("e",), seed=4)
    yield refused("a", top_p=2.0)
    yield refused("a", max_new_tokens=10**6)
    yield refused("a", top_k="x")
    yield PREDICT, {"signature_name": "score", "instances": texts}
    yield PREDICT, {"instances": ["a"]}
    yield (
        "/v1/completions",
        {"prompt": "the", "seed": 8, "max_tokens": 12, "n": 3, "temperature": 0.9},
    )


def same(found, alone):
    if isinstance(alone, dict):
        return set(found) == set(alone) and all(
            close(found[name], alone[name]) if name in NUMBERS else same(found[name], alone[name])
            for name in alone
            if name not in ("id", "created")
        )
    if isinstance(alone, list):
        return len(found) == len(alone) and all(map(same, found, alone))
    return found == alone


def close(found, alone):
    return np.shape(found) == np.shape(alone) and np.allclose(found, alone, atol=1e-4, rtol=1e-4)


def test_signatures_answer_as_without_a_server(server, client):
    exported = server.model.current.loaded._model
    prompts = ["", "a", "从前有一个", "the cat sat on the mat " * 9]
    inputs = generate_inputs("prompt", prompts, DecodingConfig(temperature=0.0, max_new_tokens=9))
    for signature, asked in (
        ("serving_default", {"text": prompts}),
        ("generate", inputs),
        ("score", {"text": prompts}),
    ):
        expected = exported.answer(signature, asked)
        found = client.post(PREDICT, {"signature_name": signature, "inputs": asked}).json["outputs"]
        assert same(found, expected if len(expected) > 1 else expected["text"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_reach_the_graph_and_are_refused(client, value):
    path, body = refused("a", temperature=value)
    (row,) = client.post(path, body).json["predictions"]
    assert row["finish_reason"] == "invalid temperature: expected a finite value >= 0"


def test_answers_do_not_depend_on_who_else_asks(server, client):
    asked, before = list(wishes()), rows_and_runs(client)
    alone = [client.post(*wish) for wish in asked]
    assert [answer.code for answer in alone].count(400) == 1
    wrong, done, end = [], [0] * CLIENTS, time.monotonic() + SECONDS

    def ask(number):
        rng, own = random.Random(number), Client(server.url)
        while not done[number] or time.monotonic() < end:
            which = rng.randrange(len(asked))
            answer = own.post(*asked[which])
            done[number] += 1
            if answer.code != alone[which].code or not same(answer.json, alone[which].json):
                wrong.append((asked[which], answer, alone[which]))
        own.close()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    assert all(done)
    rows, runs = (
        after - earlier for after, earlier in zip(rows_and_runs(client), before, strict=True)
    )
    assert runs < rows / 2, "requests were not joined"


def rows_and_runs(client):
    """How many rows `generate` has answered, and in how many runs of the graph."""
    samples = dict(
        line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#"
    )
    name = 'tf_textgen_batch_rows_%s{signature="generate"}'
    return [float(samples.get(name % which, 0)) for which in ("sum", "count")]


def test_bad_rows_fail_by_themselves(http):
    path, good = generate("the cat", "从前有一个", seed=7, max_new_tokens=20)
    (first, last) = (
        http.post(path, {**good, "instances": [row]}).json["predictions"][0]
        for row in good["instances"]
    )
    bad = [{**good["instances"][0], name: value} for name, (value, _) in REFUSED.items()]
    rows = [good["instances"][0], *bad, good["instances"][1]]
    found = http.post(path, {**good, "instances": rows}).json["predictions"]
    for row, (name, (_, bound)) in zip(found[1:-1], REFUSED.items(), strict=True):
        assert (row["finish_reason"], row["text"], row["token_count"]) == (
            f"invalid {name}: {bound}",
            "",
            0,
        )
    assert (
        same_row(found[0], first) and same_row(found[-1], last) and first["text"] and last["text"]
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_client_tells_what_was_refused(texts, name):
    value, bound = REFUSED[name]
    ways = [texts.generate, lambda *asked, **wish: list(texts.stream(*asked, **wish))]
    for ask in [*ways, texts.beam_search] if name == "max_new_tokens" else ways:
        with pytest.raises(
            rest.InvalidRequest, match=re.escape(f"{name}={value}: {bound}")
        ) as raised:
            ask("a", **{name: value})
        assert raised.value.parameter == name


def test_what_the_graphs_say_of_any_bytes_is_valid_utf8(server):
    loaded = server.model.current.loaded
    for signature in loaded.signature_names:
        answer = loaded._model.answer(
            signature, asked_for(signature, ODD_TEXTS)
        )  # raises if it is not
        assert answer and {len(rows) for rows in answer.values()} == {len(ODD_TEXTS)}


@pytest.mark.parametrize("signature", [*GENERATING, "score", "tokenize", "embed"])
def test_any_bytes_are_a_text(http, signature):
    encoded = [{"b64": base64.b64encode(text).decode()} for text in ODD_TEXTS]
    found, alone = (
        rows_of(http, signature, texts) for texts in ([*encoded, "the cat"], ["the cat"])
    )
    assert same_row(found[-1], alone[0])
    for name in {"prompt_truncated", "truncated"} & alone[0].keys():
        assert [row[name] for row in found] == [len(text) > 999 for text in ODD_TEXTS] + [False]


def rows_of(http, signature, texts):
    answer = http.post(
        PREDICT, {"signature_name": signature, "inputs": asked_for(signature, texts)}
    )
    assert answer.code == 200, answer
    outputs = answer.json["outputs"]
    columns = outputs if isinstance(outputs, dict) else {"text": outputs}
    return [{name: values[row] for name, values in columns.items()} for row in range(len(texts))]


def same_row(found, alone, name=""):
    """Numbers within 1e-4, all else to the letter; behind the end of a row's tokens stands what
    pads them.
    """
    if isinstance(alone, dict):
        return found.keys() == alone.keys() and all(
            same_row(found[name], alone[name], name) for name in alone
        )
    if isinstance(alone, list):
        padding = found[len(alone) :]
        return len(found) >= len(alone) and all(map(same_row, found, alone)) and not any(padding)
    if name == "state":  # version, mark, the score to its last digit, two places, ids
        return found.split()[3:] == alone.split()[3:]
    return (
        found == pytest.approx(alone, rel=1e-5, abs=1e-4)
        if isinstance(alone, float)
        else found == alone
    )


def test_a_client_sends_texts_of_any_length(texts):
    long, short = "从 word\n" * 14_300, "the cat"
    wish = {"temperature": 0.0, "max_new_tokens": 20}
    cut, whole, empty = texts.generate([long, short, ""], **wish)
    assert (cut.prompt_truncated, whole.prompt_truncated, empty.prompt_truncated) == (
        True,
        False,
        False,
    )
    assert (
        whole.text == texts.generate(short, **wish)[0].text
        and empty.text == texts.generate("", **wish)[0].text
    )
    stream = texts.stream(long, **wish)
    assert "".join(stream) == cut.text == texts.generate(long[-1000:], **wish)[0].text
    assert stream.completion.prompt_truncated
    assert [score.truncated for score in texts.score([long, short])] == [True, False]
    for ask in (
        texts.generate,
        texts.beam_search,
        texts.score,
        texts.tokenize,
        texts.detokenize,
        texts.embed,
    ):
        assert ask([]) == []
    with pytest.raises(
        rest.InvalidRequest, match=r"text 2: character 1 of .* is a lone surrogate; expected valid"
    ):
        texts.generate(["a", "\ud800"])


def test_no_rows_are_refused(server, client):
    for signature in server.model.current.loaded.signature_names:
        request = {"signature_name": signature, "inputs": asked_for(signature, [])}
        assert client.post(PREDICT, request).code == 400, signature
