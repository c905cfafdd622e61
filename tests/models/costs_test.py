"""Cost formulas against the weights of the built models, and against operations counted by hand."""

import keras
import pytest

from tests.support.thorough import cases
from tf_textgen.config import Config
from tf_textgen.errors import UserError
from tf_textgen.models import MODELS
from tf_textgen.models.cost_parts import Weight, optimizer_numbers
from tf_textgen.models.costs import costs, with_frozen_embeddings
from tf_textgen.models.ngram_config import NGramConfig
from tf_textgen.models.rnn_lm_config import RNNLMConfig
from tf_textgen.models.rnn_seq2seq_config import ATTENTIONS, RNNSeq2SeqConfig
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig

TRANSFORMERS = [
    {},
    {"use_bias": False, "positions": "rotary", "normalization": "rms_norm", "activation": "swiglu"},
    {"normalization": "rms_norm", "norm_placement": "post", "positions": "none"},
    {"tied_embeddings": False, "attention_score": "cosine", "positions": "sinusoidal"},
    {"embedding_width": 6, "num_kv_heads": 1, "head_width": 4, "value_width": 10},
    {
        "embedding_width": 6,
        "tied_embeddings": False,
        "feed_forward_width": 20,
        "norm_placement": "post",
    },
]
RECURRENT = [
    *({"attention": attention} for attention in ATTENTIONS),
    {"attention": "bahdanau", "encoder_width": 10, "decoder_layers": 3, "tied_embeddings": True},
    {
        "attention": "luong_general",
        "encoder_width": 10,
        "encoder_layers": 3,
        "shared_embeddings": True,
    },
    {"attention": "none", "tied_embeddings": True, "bidirectional": False},
    {"attention": "luong_dot", "bridge": "copy", "source_vocabulary_size": 23},
    {"attention": "luong_scaled", "bridge": "zero", "decoder_layers": 1, "encoder_layers": 1},
    {"attention": "bahdanau", "cell": "gru"},
    {
        "attention": "luong_general",
        "cell": "gru",
        "input_feeding": True,
        "tied_embeddings": True,
        "encoder_width": 10,
    },
    {"attention": "none", "cell": "simple_rnn", "tied_embeddings": True},
]
LANGUAGE_MODELS = [
    {},
    {"cell": "gru", "embedding_width": 8, "layer_norm": True},
    {
        "cell": "simple_rnn",
        "embedding_width": 8,
        "tied_embeddings": False,
        "num_layers": 3,
        "residual": True,
    },
]
ENCODER_DECODERS = [
    {},
    {
        "shared_embeddings": False,
        "source_vocabulary_size": 23,
        "norm_placement": "post",
        "positions": "learned",
    },
    {"use_bias": False, "positions": "rotary", "normalization": "rms_norm", "activation": "swiglu"},
    {
        "embedding_width": 6,
        "num_kv_heads": 1,
        "head_width": 4,
        "value_width": 10,
        "attention_score": "cosine",
    },
    {
        "embedding_width": 6,
        "tied_embeddings": False,
        "feed_forward_width": 20,
        "shared_embeddings": False,
    },
]
COUNTED = [{"order": 1}, {"order": 3}, {"order": 3, "contexts": (5, 8), "continuations": (7, 9)}]
CONFIGS: list[Config] = [
    *(
        TransformerLMConfig(
            **{
                "vocabulary_size": 31,
                "num_layers": 3,
                "num_heads": 2,
                "width": 16,
                "max_positions": 9,
                **o,
            }
        )
        for o in TRANSFORMERS
    ),
    *(
        TransformerSeq2SeqConfig(
            **{
                "vocabulary_size": 31,
                "encoder_layers": 1,
                "decoder_layers": 2,
                "num_heads": 2,
                "width": 16,
                **o,
            }
        )
        for o in ENCODER_DECODERS
    ),
    *(NGramConfig(vocabulary_size=31, **o) for o in COUNTED),
    *(
        RNNSeq2SeqConfig(**{"vocabulary_size": 31, "width": 12, "embedding_width": 8, **o})
        for o in RECURRENT
    ),
    *(RNNLMConfig(**{"vocabulary_size": 31, "width": 12, **o}) for o in LANGUAGE_MODELS),
]
# Recurrent encoder-decoders take the most of the time.
OFTEN = [
    one
    for one in CONFIGS
    if not isinstance(one, RNNSeq2SeqConfig) or one.input_feeding or one.bridge == "zero"
]


def build(config):
    family = next(family for family in MODELS.values() if family.config_class is type(config))
    return family.model_class()(config, seed=1).initialize()


@pytest.mark.parametrize("config", cases(CONFIGS, always=OFTEN), ids=str)
def test_weights_are_those_of_the_built_model(config):
    model = build(config)
    found = costs(config, source_tokens=5, target_tokens=7)
    trained = sorted(weight.shape for weight in found.trained_weights())
    assert trained == sorted(tuple(v.shape) for v in model.trainable_variables)
    built = sorted((tuple(v.shape), v.value.dtype.size) for v in model.weights)
    assert sorted((weight.shape, weight.element_bytes) for weight in found.weights()) == built
    assert found.weight_bytes == sum(
        v.value.dtype.size * v.value.shape.num_elements() for v in model.weights
    )
    assert found.parameters == model.count_params()


RECURRENT_SHAPE = {"width": 12, "embedding_width": 8, "encoder_layers": 1, "decoder_layers": 1}
TRANSFORMER_SHAPE = {"num_heads": 2, "width": 16, "embedding_width": 6}
FROZEN = [
    (RNNLMConfig(vocabulary_size=31, width=12, num_layers=1), "all"),
    (
        TransformerLMConfig(
            vocabulary_size=31, num_layers=1, tied_embeddings=False, **TRANSFORMER_SHAPE
        ),
        "all",
    ),
    (RNNSeq2SeqConfig(vocabulary_size=31, bidirectional=False, **RECURRENT_SHAPE), "source"),
    (
        RNNSeq2SeqConfig(
            vocabulary_size=31, bidirectional=False, shared_embeddings=True, **RECURRENT_SHAPE
        ),
        "source",
    ),
    *(
        (
            TransformerSeq2SeqConfig(
                vocabulary_size=31,
                encoder_layers=1,
                decoder_layers=1,
                shared_embeddings=shared,
                **TRANSFORMER_SHAPE,
            ),
            side,
        )
        for shared, side in ((False, "target"), (False, "all"), (True, "source"))
    ),
]


@pytest.mark.parametrize("config, side", FROZEN, ids=str)
def test_frozen_tables_are_those_of_the_built_model(config, side):
    model = build(config)
    model.freeze(model.embedding_tables(side))
    found = with_frozen_embeddings(costs(config, source_tokens=5, target_tokens=7), side)
    trained = sorted(weight.shape for weight in found.trained_weights())
    assert trained == sorted(tuple(v.shape) for v in model.trainable_variables)
    assert found.parameters == model.count_params()


@pytest.mark.parametrize("tied", [True, False])
def test_a_frozen_tied_table_saves_the_product_of_its_gradient(tied):
    config = RNNLMConfig(vocabulary_size=31, width=12, tied_embeddings=tied)
    found = costs(config, source_tokens=0, target_tokens=7)
    saved = found.training_flops() - with_frozen_embeddings(found, "all").training_flops()
    assert saved == (2 * 12 * 31 if tied else 0)


def test_every_family_has_formulas():
    covered = {type(config) for config in CONFIGS}
    assert covered == {family.config_class for family in MODELS.values()}
    with pytest.raises(
        UserError, match="costs of OptimizerConfig: expected a configuration of a model family"
    ):
        costs(OptimizerConfig(), source_tokens=1, target_tokens=1)


def test_gpt2_has_its_published_size():
    config = TransformerLMConfig(
        vocabulary_size=50_257, num_layers=12, num_heads=12, width=768, max_positions=1024
    )
    found = costs(config, source_tokens=0, target_tokens=1024)
    assert found.parameters == 124_439_808
    # Twelve layers of 12 D^2, the logits, and 4 context D a layer.
    assert found.forward_flops() == 2 * (12 * 12 * 768**2 + 50_257 * 768) + 12 * 4 * 1024 * 768
    assert found.training_flops() == 3 * found.forward_flops()
    assert found.cache == 12 * 1024 * 2 * 768


def test_operations_of_grouped_heads_and_swiglu():
    config = TransformerLMConfig(
        vocabulary_size=11, num_layers=1, num_heads=4, num_kv_heads=2, width=8, head_width=3, value_width=5,
        activation="swiglu", feed_forward_width=7, use_bias=False, max_positions=6,
    )  # fmt: skip
    by_part = {
        part.name: part.flops for part in costs(config, source_tokens=0, target_tokens=6).parts
    }
    assert by_part["attention"] == 2 * 8 * (4 * 3 + 2 * 3 + 2 * 5) + 2 * (4 * 5) * 8 + 2 * 6 * 4 * (
        3 + 5
    )
    assert by_part["feed-forward"] == 2 * (8 * 14 + 7 * 8)
    assert by_part["logits"] == 2 * 8 * 11
    assert by_part["token embedding"] == by_part["positions"] == by_part["normalizations"] == 0
    assert costs(config, source_tokens=0, target_tokens=6).cache == 6 * 2 * (3 + 5)


def test_operations_of_an_lstm_encoder_decoder():
    config = RNNSeq2SeqConfig(
        vocabulary_size=11, width=6, encoder_width=4, embedding_width=3, encoder_layers=1, decoder_layers=1,
        attention="luong_general",
    )  # fmt: skip
    found = costs(config, source_tokens=5, target_tokens=9)
    # Two directions of 2 units: 4 gates from 3 inputs and 2 units each; the keys of 6 from outputs
    # of 4.
    assert found.forward_flops("source") == 2 * (2 * (3 + 2) * 8) + 2 * 4 * 6
    attention = 2 * 5 * (6 + 4)
    assert (
        found.forward_flops("target") == 2 * (3 + 6) * 24 + attention + 2 * (6 + 4) * 6 + 2 * 6 * 11
    )
    assert found.cache == 2 * 6 + 5 * (4 + 6)


def test_the_base_model_of_the_paper():
    """About 65 million weights (Vaswani et al.

    2017, table 3), with about 37,000 tokens (section 5.1).
    """
    config = TransformerSeq2SeqConfig(
        vocabulary_size=37_000,
        encoder_layers=6,
        decoder_layers=6,
        num_heads=8,
        width=512,
        norm_placement="post",
    )
    found = costs(config, source_tokens=20, target_tokens=30)
    attention, feed_forward, norm = 4 * 512 * 513, 2 * 512 * 2048 + 2048 + 512, 2 * 512
    blocks = 6 * (attention + feed_forward + 2 * norm) + 6 * (
        2 * attention + feed_forward + 3 * norm
    )
    assert found.parameters == 37_000 * 512 + blocks == 63_082_496
    # The source meets self-attention, feed-forward layers and the keys and values of six
    # cross-attentions.
    products = 2 * 512 * 2048
    source = 6 * (4 * 512**2 + products) + 6 * 2 * 512**2
    assert found.forward_flops("source") == 2 * source + 6 * 4 * 20 * 512
    target = 6 * (4 * 512**2 + 2 * 512**2 + products) + 37_000 * 512
    assert found.forward_flops("target") == 2 * target + 6 * 4 * (20 + 30) * 512
    assert found.cache == 6 * (20 + 30) * 2 * 512


def test_operations_of_a_gru_language_model():
    config = RNNLMConfig(vocabulary_size=11, width=6, embedding_width=4, num_layers=3, cell="gru")
    found = costs(config, source_tokens=0, target_tokens=9)
    assert (
        found.forward_flops() == 2 * (4 + 6) * 18 + 2 * (2 * (6 + 6) * 18) + 2 * 6 * 4 + 2 * 4 * 11
    )
    assert found.cache == 3 * 6


@pytest.mark.parametrize(
    "name, momentum",
    [
        ("adamw", 0.9),
        ("adafactor", 0.0),
        ("sgd", 0.9),
        ("sgd", 0.0),
        ("rmsprop", 0.9),
        ("rmsprop", 0.0),
    ],
)
def test_optimizer_state_is_that_of_the_built_optimizer(name, momentum):
    from tf_textgen.optimizers.optimizers import make_optimizer

    variables = [
        keras.Variable([[0.0] * 5] * 3, name="matrix"),
        keras.Variable([0.0] * 7, name="vector"),
    ]
    optimizer = make_optimizer(OptimizerConfig(name=name, momentum=momentum), variables)
    kept = [
        v for v in optimizer.variables if len(v.shape)
    ]  # the step and the learning rate are scalars
    expected = sum(int(v.value.shape.num_elements()) for v in kept)
    assert optimizer_numbers(name, momentum, [Weight((3, 5)), Weight((7,))]) == expected
