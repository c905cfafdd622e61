import pytest

from tf_textgen.errors import UserError
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig


def test_one_vocabulary_unless_told():
    assert TransformerSeq2SeqConfig(vocabulary_size=10).source_vocabulary == 10
    config = TransformerSeq2SeqConfig(
        vocabulary_size=10, source_vocabulary_size=7, shared_embeddings=False
    )
    assert config.source_vocabulary == 7


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"width": 10},
            r"--transformer_seq2seq.width=10 does not divide by --transformer_seq2seq.num_heads=4",
        ),
        ({"num_kv_heads": 3}, "--transformer_seq2seq.num_kv_heads=3: expected a divisor"),
        (
            {"source_vocabulary_size": 9},
            "shared_embeddings with 9 source and 10 target tokens: .*or "
            "--transformer_seq2seq.shared_embeddings=false",
        ),
        (
            {"source_vocabulary_size": 3, "pad_id": 3, "shared_embeddings": False},
            "pad_id=3: expected an id below source_vocabulary_size=3",
        ),
        ({"decoder_layers": 0}, "decoder_layers=0: expected a value at least 1"),
    ],
)
def test_bad_fields_say_what_to_change(fields, message):
    with pytest.raises(UserError, match=message):
        TransformerSeq2SeqConfig(vocabulary_size=10, **fields)
