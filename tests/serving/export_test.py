"""A real export behind the server: it answers as it does without one, also where many ask at once."""

import random
import threading
import time

import numpy as np
import pytest

from tests.serving.served import Client, export, serving
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import values_of
from tf_textgen.export import self_check
from tf_textgen.export.exported import generate_inputs

CLIENTS, SECONDS = 64, 2.0
NUMBERS = ("score", "log_probability", "perplexity", "token_log_probabilities")
PREDICT = "/v1/models/tales:predict"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    decoding = DecodingConfig(temperature=1.0, top_k=20, max_new_tokens=12, seed=5)
    path = export(tmp_path_factory.mktemp("lm") / "tales", "transformer_lm", decoding, num_layers=1)
    with serving(path.parent) as running:
        yield running


def generate(*prompts, **wishes):
    values = values_of(DecodingConfig(**{"max_new_tokens": 10, **wishes}))
    return PREDICT, {"signature_name": "generate", "instances": [{"prompt": prompt, **values} for prompt in prompts]}


def refused(prompt, **wrong):
    path, body = generate(prompt)
    body["instances"][0].update(wrong)
    return path, body


def wishes():
    """Requests of several signatures, lengths and parameters, bad ones among them."""
    texts = ["", "a", "the cat", "从前有一个", "word " * 30]
    yield from (
        generate(text, temperature=0.0, max_new_tokens=n) for text, n in zip(texts, (1, 5, 9, 17, 24), strict=True)
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
    yield "/v1/completions", {"prompt": "the", "seed": 8, "max_tokens": 12, "n": 3, "temperature": 0.9}


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
    exported = server.model.current.loaded._loaded
    prompts = ["", "a", "从前有一个", "the cat sat on the mat " * 9]
    inputs = generate_inputs("prompt", prompts, DecodingConfig(temperature=0.0, max_new_tokens=9))
    for signature, asked in (
        ("serving_default", {"text": prompts}),
        ("generate", inputs),
        ("score", {"text": prompts}),
    ):
        expected = self_check.ask(exported, signature, asked)
        found = client.post(PREDICT, {"signature_name": signature, "inputs": asked}).json["outputs"]
        assert same(found, expected if len(expected) > 1 else expected["text"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_reach_the_graph_and_are_refused(client, value):
    path, body = refused("a", temperature=value)
    (row,) = client.post(path, body).json["predictions"]
    assert row["finish_reason"] == "invalid temperature: expected a finite value >= 0"


def test_answers_do_not_depend_on_who_else_asks(server, client):
    asked = list(wishes())
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
    samples = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    runs = int(samples['tf_textgen_batch_rows_count{signature="generate"}'])
    assert runs < float(samples['tf_textgen_batch_rows_sum{signature="generate"}']) / 2, "requests were not joined"
