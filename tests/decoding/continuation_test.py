"""One class for the texts of a generator and of a client."""

import subprocess
import sys

import tf_textgen
from tf_textgen.client.results import completion


def test_a_client_returns_what_a_generator_returns():
    row = {
        "text": "b",
        "score": -1.5,
        "token_count": 2,
        "finish_reason": "eos",
        "prompt_truncated": False,
        "token_log_probabilities": [-1.0, -0.5, 0.0],
        "token_texts": ["b", "</s>", ""],
    }
    found = completion(row, prompt="a", sample=1)
    assert found == tf_textgen.Continuation(
        prompt="a",
        text="b",
        score=-1.5,
        token_count=2,
        finish_reason="eos",
        prompt_truncated=False,
        token_log_probabilities=(-1.0, -0.5),
        token_texts=("b", "</s>"),
        sample=1,
    )
    assert tf_textgen.Completion is tf_textgen.Continuation


def test_tensorflow_is_not_imported():
    code = "import sys; from tf_textgen import Continuation; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
