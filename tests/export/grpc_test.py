"""An export behind a gRPC server, run by TensorFlow's session, as TF Serving runs it."""

import pytest
from google.protobuf.json_format import MessageToDict

from tests.server.contract import *  # noqa: F403
from tests.support.fake_grpc import FakeGrpc
from tests.support.fake_serving import FakeServing
from tf_textgen.client.grpc_client import GrpcClient
from tf_textgen.decoding.decoding_config import DecodingConfig


@pytest.fixture(scope="module")
def address(exported):
    """The address of a server that answers from the export."""
    signatures = {}
    for name, signature in exported.served.signatures.items():
        signatures[name] = MessageToDict(signature, preserving_proto_field_name=True)
    serving = FakeServing(exported.served.run, signatures)
    with FakeGrpc(serving).running() as address:
        yield address


@pytest.fixture
def connect(address):
    return lambda model="model", **options: GrpcClient(address, model, **options)


def test_answers_are_those_of_the_generator(client, exported):
    prompts = ["the cat", "从前有一个🙂", ""]
    decoding = DecodingConfig(temperature=0.8, top_k=5, seed=11, max_new_tokens=9)
    found = client.generate(prompts, temperature=0.8, top_k=5, seed=11, max_new_tokens=9)
    expected = exported.generator.generate(prompts, decoding)
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.token_texts for one in found] == [tuple(one.token_texts) for one in expected]
    scores = [one.score for one in expected]
    assert [one.score for one in found] == pytest.approx(scores, abs=1e-4)
