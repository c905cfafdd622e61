"""The model's inputs and outputs without a cache: an oracle for all searches."""

import tensorflow as tf


def first_features(generator, text):
    """The features of a source, and the first tokens of the target."""
    tokens = generator.tokenizer.tokenize(tf.constant([text])).to_list()[0]
    if not generator.is_pair:
        return {}, tokens
    source = [*tokens, generator.tokenizer.eos_id]
    features = {
        "source_tokens": tf.constant([source]),
        "source_lengths": tf.constant([len(source)]),
    }
    return features, [generator.tokenizer.bos_id]


def never_generated(tokenizer):
    """The special tokens that no text has."""
    return [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.sep_id]


def text_of_bytes(tokens):
    """The text of ids of the tokenizer of bytes, in which byte b has the id b + 5."""
    written = bytes(token - 5 for token in tokens if token >= 5)
    return repaired(written)


def repaired(written):
    """The bytes as valid UTF-8."""
    return tf.strings.unicode_transcode([written], "UTF-8", "UTF-8")[0].numpy().decode()
