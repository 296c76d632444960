"""ROUGE (Lin 2004, W04-1013) by the package ``rouge-score``, over the words of any script.

That package's own tokenizer keeps only a-z and 0-9: "été" becomes "t", Russian and Chinese nothing, with scores of 0.
Here a word is a run of letters and digits with their marks, so that text in ASCII is cut as there; in scripts that are
written without spaces (Han, kana, Thai, Lao, Burmese, Khmer) every character is a word, as is usual for Chinese.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from itertools import islice

import numpy as np
from numpy.typing import NDArray

TYPES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
# Words of each text that are read (``-l`` of ROUGE 1.5.5): the time for a longest common subsequence grows with the
# product of both counts.
WORDS = 1000
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
_UNSPACED += "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINERS = "\u200c\u200d"


def rouge(metric: str, references: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
    """F1 of each answer, (n,), 0 to 1: of shared words (``rouge_1``), pairs of neighbouring words (``rouge_2``), or the
    longest common subsequence of words (``rouge_l``).

    Without stemming, over the first `WORDS` words of each text; 0 where one has none.
    """
    from rouge_score.rouge_scorer import RougeScorer

    kind = TYPES[metric]
    scorer = RougeScorer([kind], tokenizer=_Tokenizer())
    pairs = zip(references, answers, strict=True)
    return np.array([scorer.score(wanted, answer)[kind].fmeasure for wanted, answer in pairs], np.float64)


def words(text: str) -> list[str]:
    """The first `WORDS` words of a text in lower case; characters that mean the same (NFKC) are the same."""
    matches = _word().finditer(unicodedata.normalize("NFKC", text).lower())
    return [match[0] for match in islice(matches, WORDS)]


def lead(text: str, count: int) -> str:
    """The beginning of a text, up to the end of its ``count``-th word."""
    ends = [match.end() for match in islice(_word().finditer(text), count)]
    return text[: ends[-1]] if len(ends) == count else text


def signature() -> str:
    """The settings of ROUGE, needed to compare its numbers."""
    return f"words:unicode|stem:no|first:{WORDS}|version:{metadata.version('rouge-score')}"


class _Tokenizer:
    """The tokenizer that ``RougeScorer`` calls."""

    tokenize = staticmethod(words)


@cache
def _word() -> re.Pattern[str]:
    """A character of an unspaced script, or a run of other letters and digits, with the marks on them."""
    codes = (chr(code) for code in range(0x300, 0x20000))
    marks = _JOINERS + "".join(code for code in codes if unicodedata.category(code).startswith("M"))
    return re.compile(rf"[{_UNSPACED}][{marks}]*|[^\W_{_UNSPACED}]+(?:[{marks}]+[^\W_{_UNSPACED}]*)*")
