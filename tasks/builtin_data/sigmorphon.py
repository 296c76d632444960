"""Inflection (SIGMORPHON 2017, 1706.09031) and pronunciation (SIGMORPHON 2020) as sequences of tokens.

Tokens stand between spaces, so that the tokenizer "word" makes each one token; `SPACE` stands for a space in a lemma or
form. Splits and rows are the publisher's.

    inflection      N DAT PL L a n d            L ä n d e r n
    pronunciation   a b b y                     a b i
"""

from collections.abc import Sequence

from archbench.tasks.base.dataset import Table
from archbench.tasks.builtin_data.pinned_files import Publisher
from archbench.tasks.builtin_data.publishers import SIGMORPHON_2017, SIGMORPHON_2020

SPACE = "␣"
INFLECTED = ("german", "english", "finnish", "turkish", "spanish", "russian")
ROWS = {"": ("high", "10,000"), "-medium": ("medium", "1,000")}  # of training, by the end of the name
PRONOUNCED = {
    "french": "fre",
    "dutch": "dut",
    "greek": "gre",
    "hungarian": "hun",
    "icelandic": "ice",
    "lithuanian": "lit",
}


def inflection(language: str, amount: str) -> Publisher:
    """The three files of a language, with the training split of this ``amount``, "high" or "medium"."""
    train, validation = (f"all/task1/{language}-{part}" for part in (f"train-{amount}", "dev"))
    return SIGMORPHON_2017.part(train, validation, f"answers/task1/{language}-uncovered-test")


def pronunciation(language: str) -> Publisher:
    """The three files of a language."""
    code = PRONOUNCED[language]
    return SIGMORPHON_2020.part(*(f"task1/data/{part}/{code}_{part}.tsv" for part in ("train", "dev", "test")))


def read_inflection(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """``lemma<TAB>form<TAB>tags`` of train, validation and test: tags and characters of the lemma, to the form's."""
    train, validation, test = map(_inflected, raw)
    return train, validation, test


def read_pronunciation(raw: Sequence[bytes]) -> tuple[Table, Table, Table]:
    """``word<TAB>phonemes`` of train, validation and test: characters of the word, to the phonemes."""
    train, validation, test = map(_pronounced, raw)
    return train, validation, test


def spelled(text: str) -> str:
    """The characters of ``text`` as tokens: "a bc" -> "a ␣ b c"; any white space becomes `SPACE`."""
    return " ".join(SPACE if character.isspace() else character for character in text)


def joined(tokens: str) -> str:
    """The text that was `spelled`, with plain spaces."""
    return "".join(tokens.split(" ")).replace(SPACE, " ")


def tagged(tags: str) -> str:
    """Tags as tokens: "V.PTCP;PST" -> "V_PTCP PST"."""
    return " ".join(tags.replace(".", "_").replace("+", "_").split(";"))


def _inflected(raw: bytes) -> Table:
    rows = _rows(raw)
    sources = [f"{tagged(tags)} {spelled(lemma)}" for lemma, _, tags in rows]
    return Table(sources, [spelled(form) for _, form, _ in rows])


def _pronounced(raw: bytes) -> Table:
    rows = _rows(raw)
    return Table([spelled(word) for word, _ in rows], [phonemes for _, phonemes in rows])


def _rows(raw: bytes) -> list[list[str]]:
    return [line.split("\t") for line in raw.decode().removesuffix("\n").split("\n")]
