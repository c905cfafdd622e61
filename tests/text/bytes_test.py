import tensorflow as tf

from tf_textgen.text.bytes import ByteTokenizer


def test_ids_are_bytes_shifted_by_five():
    text = bytes(range(256))
    assert ByteTokenizer().tokenize(tf.constant([text, b""])).to_list() == [
        [byte + 5 for byte in text],
        [],
    ]
    assert ByteTokenizer().vocabulary_size == 261


def test_bytes_that_are_not_utf8_come_back_raw():
    tokenizer = ByteTokenizer()
    text = bytes(range(255, -1, -1))
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant([text]))).numpy().tolist() == [text]
    assert tokenizer.pieces.numpy()[5:].tolist() == [bytes([value]) for value in range(256)]
