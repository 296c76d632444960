"""Edit distances (Levenshtein) by the package ``rapidfuzz``: of tokens between white space, and of characters.

wer             share of answers with another sequence of tokens     SIGMORPHON 2020: an answer is one word
per             edits of tokens / tokens of the references           phonemes; of sentences, words
edit_distance   mean edits of characters, white space not counted    SIGMORPHON 2017
"""

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

from archbench.tasks.metrics.intervals import Floats, ratios


def apart(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """1 at answers whose tokens are not those of the reference, (n,)."""
    return np.array([a.split() != b.split() for a, b in zip(references, answers, strict=True)], np.float64)


def token_edits(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """The statistics (n, 3) of a ratio: tokens inserted, deleted or replaced, over the tokens of the reference."""
    pairs = [(a.split(), b.split()) for a, b in zip(references, answers, strict=True)]
    edits = np.array([Levenshtein.distance(wanted, given) for wanted, given in pairs], np.float64)
    return ratios(edits, np.array([len(wanted) for wanted, _ in pairs], np.float64))


def character_edits(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """Characters inserted, deleted or replaced in each answer, (n,); those of white space are not counted."""
    pairs = zip(references, answers, strict=True)
    edits = [Levenshtein.distance("".join(wanted.split()), "".join(given.split())) for wanted, given in pairs]
    return np.array(edits, np.float64)
