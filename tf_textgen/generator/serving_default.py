"""The signature `serving_default`: text to text, by the decoding parameters of the export."""

from __future__ import annotations

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import length_penalty_of
from tf_textgen.decoding.parameters import from_config
from tf_textgen.generator.beam_decoder import BeamDecoder
from tf_textgen.generator.decoder import Decoder
from tf_textgen.generator.signature import Signature, row_specs, text_inputs


class ServingDefault:
    """Answers text with text: the best one of a beam, or one sample.

    Args:
      decoder: answers if there is no beam.
      beam_decoder: answers if there is one.
    """

    def __init__(self, decoder: Decoder, beam_decoder: BeamDecoder) -> None:
        self.decoder = decoder
        self.beam_decoder = beam_decoder

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`serving_default`: text."""

        def answer(text: tf.Tensor) -> dict[str, tf.Tensor]:
            parameters = from_config(decoding, tf.shape(text)[0])
            return {"text": self.decoder.graph(text, parameters).text}

        def answer_by_beam(text: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = tf.shape(text)[0]
            # The graph of `beam_search`, which is traced once.
            graph = self.beam_decoder.graph(decoding.beam_width, decoding.num_best)
            found = graph(text, from_config(decoding, rows), length_penalty_of(decoding, rows))
            return {"text": found.text[:, 0]}

        return [
            Signature(
                name="serving_default",
                inputs=row_specs(text=tf.string),
                function=answer if decoding.beam_width == 1 else answer_by_beam,
                example_inputs=text_inputs,
            )
        ]
