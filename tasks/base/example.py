"""An example is a pair of token sequences: a source that is read and a target that is written.

    generation      ("To be, or", " not to be")          a prefix and its continuation
    classification  ("what a lovely day", "<positive>")  a text and one label token
    translation     ("five days", "fünf Tage<end>")      a sentence and its translation
    summarization   ("It rained. ...", "rain<end>")      a text and its summary
    memorization    ("k4gq", "zq5mafs3p2ydk7ow<end>")    a key and its random string
    pairs           ("", "The cats sleep.")              a whole text

Token ids below ``len(SPECIALS)`` are reserved in every vocabulary and never come out of text, ``UNK`` excepted.
A target ends with END unless it is a label, a window without source or a whole text. It has no BOS: families and
objectives add it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAD, BOS, END, MASK, UNK = range(5)
SPECIALS = ("<pad>", "<bos>", "<end>", "<mask>", "<unk>")
LABEL = "label: "  # begins the spelling of a label's token in an exported tokenizer

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Example:
    """Token ids of one example: ``source`` (s,), may be empty, and ``target`` (t,)."""

    source: Tokens
    target: Tokens
