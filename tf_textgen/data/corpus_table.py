"""The table of corpora: what each is, where it comes from, and the checksums of its files. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a corpus.

    Attributes:
      name: path under the corpus's folder, without .gz.
      sha256: of the text, unpacked: it does not change with the packing.
      member: name in the downloaded archive or public folder.
      span: first and last byte in the downloaded file, the last one not included.
    """

    name: str
    sha256: str
    member: str | None = None
    span: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """A row of the table.

    Attributes:
      folder: of its files, under the data directory.
      url: the download; the public home page where `packing` is None.
      sha256: of the download.
      packing: how the files come out of the download: `zip` members, `span`s of bytes, or files of a public `folder`.
        None: they cannot be made from it with certainty.
      splits: train, valid, test -> file.
      embedded: made on this machine by `data.embedded`.
      format, documents, source_column, target_column, first_turn_column: how to read them, as in `DataConfig`.
    """

    task: str
    language: str
    licence: str
    folder: str = ""
    url: str = ""
    sha256: str | None = None
    packing: str | None = None
    splits: Mapping[str, File] = dataclasses.field(default_factory=dict)
    embedded: bool = False
    format: str = "text"
    documents: str = "blank_line"
    source_column: int = 1
    target_column: int = 2
    first_turn_column: int = 1


def _chatterbot(name: str, language: str, sha256: str) -> Corpus:
    return Corpus(
        folder="dialogue/chatterbot",
        task="chit-chat and questions: turns",
        language=language,
        licence="BSD-3-Clause",
        url="https://github.com/gunthercox/chatterbot-corpus",
        format="dialogue",
        splits={"train": File(f"{name}.tsv", sha256)},
    )


# Language -> its code and the SHA-256 of its file.
_CHATTERBOT = {
    "bengali": ("bn", "b1e2647442649919540f8fc3f32243347eecde8f766d80ced99a8984ed8dc7a1"),
    "chinese": ("zh", "ba6a6751946442563777375b2d5d09a804b01ab2e5d676ef79a868e785d1abbc"),
    "dutch": ("nl", "f66275dc9ff23f9333b03b243c4bcbd4c741ecb9a910d4d5164b139f576bd0a8"),
    "english": ("en", "c346f749cafacadb4961400e0324fb6c16edb6de1c36f2db9c19f75656e8d924"),
    "french": ("fr", "39f72cbf28aa923bf40f6d4d7d397996d91d94fe60b7be4135c43492883d997f"),
    "german": ("de", "fea6c1395aa7f9eeb8cac947fdbb6d192f6337d73b36e777eea165951dd2af54"),
    "hebrew": ("he", "6c1082a14e4b5739d09ddaf3a6feeb725055d2efae649947ceed8db9e6a8b999"),
    "hindi": ("hi", "0c542062a9538078e1ad7a8b9408350e34a817fbfff3dc9e473ba3198bedf91b"),
    "hinglish": ("hi", "40bef90c4df1c6a4a9c3c5b81f7e522381f73c2f945be8ac5346e1bbb65a411b"),
    "indonesian": ("id", "bc388571b2c38ffc88d0dc38b411d39133d23fe9edb925eedc4a8ac0f076d1f2"),
    "italian": ("it", "4fad65df3281575e637ee05b72e7c2975af83f226d16253f9ab0264d1df7e683"),
    "japanese": ("ja", "f07c1cf8c3205e1ec34cdfc8965494be721cb7c3d59620bd18e61b1eba072c0c"),
    "korean": ("ko", "42b448b11d67a2db53de70e78d499775295b55facc5a03bd336ab84807a5763d"),
    "marathi": ("mr", "b3e0ae5f14feec558feebd3e2937a8a79ee95182ce33e9ebac9d3ba99c0ca911"),
    "oriya": ("or", "b9c18655b12b464f8623f5ebe1bc036933b1175843f7e462a0fa2f024bd0b0c6"),
    "persian": ("fa", "cef817239c00e40417e80e8f662700fbd26b67caa22d87b2841de43d49183bca"),
    "portuguese": ("pt", "7936699a8e0995414c1c9235fc9dd9bbadcdec290e6133aacf50c24c0a153b25"),
    "russian": ("ru", "d3b3f76d72b431ff45189d96bec51e2a86e480ef0a8c25c74a3d6ec478195165"),
    "spanish": ("es", "826c46dd44aba92845575ec79266abdb50c3ae3cc2b5b4f9282c9e396b39c94b"),
    "swedish": ("sv", "c515590e11424509bb02f8f57ab03aa2f5447644590984a31de23def101e6728"),
    "tamil": ("ta", "4156087deb10f186c72e398a3d16b5a28e80876e6c3c76cf47f1292dd67fb713"),
    "telugu": ("te", "9895a6c7f5b8c14b546ee9826e38e74fc1d6a724180c41ed55e11ef291a4695d"),
    "thai": ("th", "21f1a2ec6f3718f861a9c659c303fb14e82ba24affe9425479154c0ea5ba695a"),
    "traditionalchinese": (
        "zh",
        "a1e720dcbf989cdb73ae91179959609edc4b1732da01f46a23f9e59e964735e0",
    ),
    "turkish": ("tr", "c73eff9dbfe12106f0f9a00081d304e5e93d14a125d05168fb0ea060dcbd6cd4"),
    "ukrainian": ("uk", "7e592115cfda9b94f0697ee0a672e1b272f4cee70f307b0bcfd28c52fae7520c"),
    "urdu": ("ur", "ea120cb59323a15407712dddef28aa91cfa0a651f031203caf0380341491ca59"),
    "yoruba": ("yo", "2a6f32806239f806ac1f3b1da986fbc08f40ce9afe814b26adeba3de0c414ec6"),
}

CORPORA: Mapping[str, Corpus] = {
    "python_docs": Corpus(
        task="language model",
        language="en",
        licence="PSF-2.0",
        url="https://docs.python.org/3/reference/",
        embedded=True,
        documents="file",
    ),
    "grammar": Corpus(
        task="translation",
        language="en-zh",
        licence="Apache-2.0",
        embedded=True,
        format="tsv",
    ),
    "grammar_small": Corpus(
        task="translation, learnt in minutes",
        language="en-zh",
        licence="Apache-2.0",
        embedded=True,
        format="tsv",
    ),
    "copy": Corpus(
        task="copying strings", language="none", licence="Apache-2.0", embedded=True, format="tsv"
    ),
    "tinyshakespeare": Corpus(
        folder="lm_en/tinyshakespeare",
        task="character language model",
        language="en",
        licence="public domain",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        packing="span",
        documents="file",
        splits={
            "train": File(
                "train.txt",
                "a9e24e23a1ec77744dad26844bfd5a09b6e041954e1eef0000e7f24cba6db735",
                span=(0, 1003854),
            ),
            "valid": File(
                "valid.txt",
                "c54f3753a4e6e3c3d1759212815a7caf826e68a33021b25312984400bed40a1f",
                span=(1003854, 1115394),
            ),
        },
    ),
    "wikitext2": Corpus(
        folder="lm_en/wikitext2",
        task="word language model",
        language="en",
        licence="CC BY-SA 3.0",
        url="https://wikitext.smerity.com/wikitext-2-v1.zip",
        sha256="92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
        packing="zip",
        documents="file",
        splits={
            "train": File(
                "train.txt",
                "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
                member="wikitext-2/wiki.train.tokens",
            ),
            "valid": File(
                "valid.txt",
                "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
                member="wikitext-2/wiki.valid.tokens",
            ),
            "test": File(
                "test.txt",
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
                member="wikitext-2/wiki.test.tokens",
            ),
        },
    ),
    "wikitext2_raw": Corpus(
        folder="lm_en/wikitext2",
        task="sub-word or byte language model",
        language="en",
        licence="CC BY-SA 3.0",
        url="https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
        sha256="ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
        packing="zip",
        documents="file",
        splits={
            "train": File(
                "raw.train.txt",
                "6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57",
                member="wikitext-2-raw/wiki.train.raw",
            ),
            "valid": File(
                "raw.valid.txt",
                "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
                member="wikitext-2-raw/wiki.valid.raw",
            ),
            "test": File(
                "raw.test.txt",
                "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
                member="wikitext-2-raw/wiki.test.raw",
            ),
        },
    ),
    "warandpeace": Corpus(
        folder="lm_en/warandpeace",
        task="character language model",
        language="en",
        licence="public domain",
        url="https://www.gutenberg.org/ebooks/2600",
        documents="file",
        splits={
            "train": File(
                "train.txt", "f260511ca4cd5d23370278a8691e2784c3e928a37e59af4b2c6c54027db46ce7"
            ),
            "valid": File(
                "valid.txt", "89a7eade63910b041aee899ada943536328dd40a1e8f3c13fa50b09b2c2350fb"
            ),
            "test": File(
                "test.txt", "fc65e8384ec0fadfe5fdfae753ac81a818fac7d2c6f870535139edbe82c2d773"
            ),
        },
    ),
    "tinystories_sample": Corpus(
        folder="lm_en/tinystories_sample",
        task="quick demonstrations",
        language="en",
        licence="CDLA-Sharing-1.0",
        url="https://huggingface.co/datasets/roneneldan/TinyStories",
        documents="file",
        splits={
            "train": File(
                "train.txt", "ee09843d7cb9dde9030fd67267417cbefda44c45f616fda4fd14c5144c97f36a"
            ),
            "valid": File(
                "valid.txt", "1b6711f7aa697290c726b19bab29cbc6f69bec5194fabe1afc2c18165d3f35bb"
            ),
        },
    ),
    "song_ci": Corpus(
        folder="lm_zh/song_ci",
        task="poems: tune, author, body",
        language="zh",
        licence="MIT",
        url="https://github.com/chinese-poetry/chinese-poetry",
        documents="line",
        splits={
            "train": File(
                "train.tsv", "a759cedad8f3d8a485477f514afb8051eb63a0e7f6d70863dc81af20a2c70196"
            ),
            "valid": File(
                "valid.tsv", "bb9c1e6d4b8c0d5537e1c44090d153f6a1c0e9325051f195ec2070050954a8e1"
            ),
            "test": File(
                "test.tsv", "5832727b514e4798debe872c496336cd42cb973c4ca52307aeede5f0d951521a"
            ),
        },
    ),
    "sanguoyanyi": Corpus(
        folder="lm_zh/sanguoyanyi",
        task="language model",
        language="zh",
        licence="public domain",
        url="https://zh.wikisource.org/wiki/三國演義",
        documents="file",
        splits={
            "train": File(
                "train.txt", "2131d61dd91282bf23467dc94e4debfd57975831875a0b0406eb5a3c0d49c47b"
            ),
            "valid": File(
                "valid.txt", "77f59124afdf84c8454ff672934c8a2e4cf4b8c4b33673495b685c6aa8616b88"
            ),
            "test": File(
                "test.txt", "4c8ce2dc15fddf8f38887820b6213b137b551e3824561ae16a44ece28bad98ec"
            ),
        },
    ),
    "xiyouji": Corpus(
        folder="lm_zh/xiyouji",
        task="language model",
        language="zh",
        licence="public domain",
        url="https://zh.wikisource.org/wiki/西遊記",
        documents="file",
        splits={
            "train": File(
                "train.txt", "c4ad7517f92ec8ca3dd5712d7dbea486ef539c840ba217887592199f27322ee0"
            ),
            "valid": File(
                "valid.txt", "ee7a62dccf28f612e2103c1372089c3055768bdc0cccb060a3ff66a68a029db6"
            ),
            "test": File(
                "test.txt", "91b5a89b1b90c548d74f1957de927ec1d73af1e21adfce0aff9916c15538e0f7"
            ),
        },
    ),
    "tatoeba_en_fr": Corpus(
        folder="mt/tatoeba_en_fr",
        task="translation",
        language="en-fr",
        licence="CC BY 2.0 FR",
        url="https://www.manythings.org/anki/",
        format="tsv",
        splits={
            "train": File(
                "train.tsv", "c421e78fbf5a08c8a155af3952224724d5a303329f4ec06b5a89a76c6063b575"
            ),
            "valid": File(
                "valid.tsv", "6357db782663a5b693e284f424356752e1078c9020ad29d8ace48d6ffa56ee33"
            ),
            "test": File(
                "test.tsv", "f8482b6fc70575ad1f915b20d95291b3ca978ad329329c57ff8526e860e27784"
            ),
        },
    ),
    "tatoeba_en_zh": Corpus(
        folder="mt/tatoeba_en_zh",
        task="translation",
        language="en-zh",
        licence="CC BY 2.0 FR",
        url="https://www.manythings.org/anki/",
        format="tsv",
        splits={
            "train": File(
                "train.tsv", "ff7fcb71ad311806caa756a99b33c375ed5bd9617455811d164e6831afef897f"
            ),
            "valid": File(
                "valid.tsv", "84fa466e1827ae3f2fc79968a3e300d454caed88e6d9ca24ab939e2b09563532"
            ),
            "test": File(
                "test.tsv", "7e351e7f38ab5f92a8bf8d076528451c564faa745ca98a175829e7a6e348e879"
            ),
        },
    ),
    "debian_synopsis": Corpus(
        folder="summarization/debian_synopsis",
        task="summary of a software description",
        language="en",
        licence="DFSG-free",
        url="https://packages.debian.org/",
        format="tsv",
        splits={
            "train": File(
                "train.tsv", "2a3127412813f6154b98331fbd4be905db953f96af472ff041d34e37c99be892"
            ),
            "valid": File(
                "valid.tsv", "647d0bc192d4a7b9703c88fbf775654f52029a91c29ce65591b9a6a8fb764334"
            ),
        },
    ),
    "scitldr_a": Corpus(
        folder="summarization/scitldr_a",
        task="one-sentence summary of an abstract",
        language="en",
        licence="Apache-2.0",
        url="https://github.com/allenai/scitldr",
        format="tsv",
        source_column=3,
        target_column=4,
        splits={
            "train": File(
                "train.tsv", "0b22df65edfb1b012b630f58c73552cf9f20b445c591cf6c7b8e56f5c8204ce5"
            ),
            "valid": File(
                "valid.tsv", "fa98fbdd98a8df68307e173e1a0873be8ebccf33655b1889aeb4dda83320de01"
            ),
            "test": File(
                "test.tsv", "3c6253d66723f02a8236298ddab2106aba9ce000d46764cc3bf583bf0da54168"
            ),
        },
    ),
    "sgd_subset": Corpus(
        folder="dialogue/sgd_subset",
        task="task dialogue: id, turns",
        language="en",
        licence="CC BY-SA 4.0",
        url="https://github.com/google-research-datasets/dstc8-schema-guided-dialogue",
        format="dialogue",
        first_turn_column=2,
        splits={
            "train": File(
                "train.tsv", "1554ffc588057ea11c7a58b824b7c5a380a7642f7fcc14ef44959f5a94c5a78c"
            ),
            "valid": File(
                "valid.tsv", "7d84e693c83f4c34b258fd761533d4e2847bd2beaada3844c6a79370e7afd54d"
            ),
            "test": File(
                "test.tsv", "7c2ee4a2b1174944be9734ca3a28e7bf4eb31275def7591a3fc668412113ce41"
            ),
        },
    ),
    "kdconv": Corpus(
        folder="dialogue/kdconv",
        task="knowledge dialogue: domain, turns",
        language="zh",
        licence="Apache-2.0",
        url="https://github.com/thu-coai/KdConv",
        format="dialogue",
        first_turn_column=2,
        splits={
            "train": File(
                "train.tsv", "7518650eaf16f2b1ea64d94d01b753fb3acedc8dcc4c6d5064a844eba532df8f"
            ),
            "valid": File(
                "valid.tsv", "6baea264b6eeccbe1568f81f1299a0c2de80d6a4acec02539eb239ba4dd448d2"
            ),
            "test": File(
                "test.tsv", "0ba0e1cd45db0df6697f640a6d66fe2805047a423a4d08f2b3a875127b68dd13"
            ),
        },
    ),
    **{f"chatterbot_{name}": _chatterbot(name, *row) for name, row in _CHATTERBOT.items()},
    "glove_50d": Corpus(
        folder="vectors",
        task="word vectors",
        language="en",
        licence="PDDL 1.0",
        url="https://nlp.stanford.edu/projects/glove/",
        format="vectors",
        splits={
            "vectors": File(
                "glove.6B.50d.top20k.txt",
                "29c5fdf48c18b35184f07c1912ef9476c1f47d8479458da8974c7f02c0a8f16a",
            ),
        },
    ),
    "gpt2_tokenizer": Corpus(
        folder="tokenizer_gpt2",
        task="a byte-pair tokenizer",
        language="en",
        licence="MIT",
        url="https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/",
        packing="folder",
        format="tokenizer",
        splits={
            "encoder": File(
                "encoder.json",
                "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
                member="encoder.json",
            ),
            "merges": File(
                "vocab.bpe",
                "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
                member="vocab.bpe",
            ),
        },
    ),
}
