"""A real export behind a server: the examples of the documentation, and all that a client needs;
also of TensorFlow Serving.
"""

import pathlib

import pytest

from tests.server.contract import *  # noqa: F403
from tests.server.curl_examples import check_answer, examples
from tests.server.served import Client as HttpClient
from tf_textgen.client.rest_client import Client

EXAMPLES = examples((pathlib.Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8"))
NAME = next(one.model for one in EXAMPLES if one.model)


@pytest.fixture
def connect(address_of):
    return lambda model=NAME, **options: Client(address_of(NAME), model, **options)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.path)
def test_an_example_is_answered_as_the_documentation_says(example, address_of, request):
    if request.node.callspec.params["address_of"] != "local" and not example.path.startswith(
        "/v1/models/"
    ):
        pytest.skip(f"TensorFlow Serving has no {example.path}")
    http = HttpClient(f"http://{address_of(example.model or NAME)}")
    answer = http.ask(
        "POST" if example.body is not None else "GET", example.path, example.body, **example.headers
    )
    http.close()
    assert answer.code == 200, answer
    check_answer(example, answer.text)
