"""Word vectors by flag."""

import pytest

from tf_textgen.errors import UserError
from tf_textgen.runs.embedding_config import EmbeddingConfig


@pytest.mark.parametrize(
    "field, value, came", [("trainable", False, "false"), ("side", "source", "source")]
)
def test_what_needs_a_file_is_refused_without(field, value, came):
    EmbeddingConfig(file="x", **{field: value})
    with pytest.raises(
        UserError, match=rf"--embedding.{field}={came} without --embedding.file: expected a file of"
    ):
        EmbeddingConfig(**{field: value})
