"""Words and scripts."""

from tf_textgen.evaluation.word_tokens import is_ascii, is_chinese, tokens, words


def test_words_of_several_scripts():
    text = "L'été: 3 GB 漢字kanaかなx, привет"
    assert words(text) == ["L", "été", "3", "GB", "漢", "字", "kana", "か", "な", "x", "привет"]
    assert tokens("Hi, 好。") == ["Hi", ",", "好", "。"]
    assert words("... \n") == []


def test_scripts():
    assert (
        is_chinese(["我用 vim 写程序很快"])
        and not is_chinese(["vim 用"])
        and not is_chinese(["123", ""])
    )
    assert is_ascii(["plain text " * 20, "café"]) and not is_ascii(["café"]) and is_ascii([])
