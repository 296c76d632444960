"""Similarity of the embeddings of similar tokens: neighbours, a projection, a test against tokens of like frequency."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.architectures.components.embedding import Embedding
from archbench.inspection.subject import InspectedRun, spelled
from archbench.tasks.base.example import SPECIALS
from archbench.tasks.text.tokenizers import Tokenizer

SHOWN, NEIGHBOURS = 60, 5
BAND = 8  # tokens of like frequency among which groups are dealt out anew
DRAWS = 2000
QUOTE, SPELLINGS = "“", "spellings of a word"
Floats = NDArray[np.float64]

# What is used alike. A token belongs to a group where its text, blanks and case aside, is one of its members.
GROUPS: Mapping[str, str] = {
    "numbers": "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty hundred",
    "German numbers": "ein eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig hundert",
    "months": "january february march april june july august september october november december",
    "German months": "januar februar märz juni juli oktober dezember",
    "days": "monday tuesday wednesday thursday friday saturday sunday",
    "German days": "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    "durations": "second seconds minute minutes hour hours day days week weeks month months year years",
    "pronouns": "i he she we they thou you him her them us me thee",
    "possessives": "my his her our their thy your mine thine",
    "auxiliaries": "is are was were be been am has have had do does did will shall would should can could may might",
    "articles": "a an the this that these those",
    "prepositions": "in on at by with from to of for upon over under into through between",
    "kin": "father mother son daughter brother sister wife husband child children",
    "titles": "king queen prince duke lord lady sir master mistress emperor",
    "body": "head hand hands eye eyes heart face foot feet tongue blood ear ears arm",
    "praise": "good great best love nice amazing excellent perfect happy wonderful fine",
    "blame": "bad worst hate poor terrible awful sad wrong horrible ugly",
    "digits": "0 1 2 3 4 5 6 7 8 9",
    "vowels": "a e i o u",
    "consonants": "b c d f g h j k l m n p q r s t v w x z",
    "punctuation": ". , ; : ! ?",
}

LETTERS = ("vowels", "consonants")  # the groups of single letters
CHARACTERS = (*LETTERS, "digits", "punctuation")  # all that a character can be


@dataclass(frozen=True)
class Similarity:
    """Mean cosine of ``pairs`` pairs within groups, each of ``groups`` counting the same, and of pairs dealt out anew.

    Anew among tokens of like frequency; ``above`` groups are above the mean of that, all spellings of words being one.
    """

    within: float
    matched: float
    lower: float
    upper: float
    p: float
    pairs: int
    groups: int
    above: int


def table(subject: InspectedRun) -> tuple[Floats, list[int], Counter[int]]:
    """Token vectors (v, d), the text tokens that the examples hold, most frequent first, and how often."""
    embedding = next(module for module in subject.run.model.modules() if isinstance(module, Embedding))
    counts = Counter(token for pair in subject.examples for side in pair for token in side if token >= len(SPECIALS))
    order = sorted(counts, key=lambda token: (-counts[token], token))
    return embedding.weight.detach().double().numpy(), order, counts


def neighbours(subject: InspectedRun, vectors: Floats, order: Sequence[int]) -> list[dict[str, Any]]:
    """For the shown text's tokens and the most frequent ones: the nearest among those that occur, by cosine."""
    text_tokens = [token for side in subject.text for token in side if token in set(order)]
    queries = list(dict.fromkeys([*text_tokens, *order]))[:24]
    unit = _unit(vectors)
    among = np.array(order)
    rows = []
    for token in queries:
        cosines = unit[among] @ unit[token]
        nearest = [index for index in np.argsort(-cosines, kind="stable") if among[index] != token][:NEIGHBOURS]
        nearest_tokens = [
            (spelled(subject.run.tokenizer, int(among[index])), float(cosines[index])) for index in nearest
        ]
        rows.append({"token": spelled(subject.run.tokenizer, token), "neighbours": nearest_tokens})
    return rows


def projection(subject: InspectedRun, vectors: Floats, order: Sequence[int]) -> dict[str, Any]:
    """The most frequent tokens on the two main axes of their vectors, and the share of variance that those hold."""
    chosen = list(order[:SHOWN])
    centred = vectors[chosen] - vectors[chosen].mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    at = centred @ axes[:2].T
    at = at * np.where(np.abs(at).argmax(0) == at.argmax(0), 1.0, -1.0)  # the sign is the library's whim
    share = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-12))
    tokens = [spelled(subject.run.tokenizer, token) for token in chosen]
    groups = groups_of(subject.run.tokenizer, chosen)
    points = [
        {"token": token, "x": float(x), "y": float(y), "group": groups.get(number, "")}
        for token, number, (x, y) in zip(tokens, chosen, at, strict=True)
    ]
    return {"points": points, "share": share}


def groups_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> dict[int, str]:
    """The group of each token that is in one: used alike, or else the same word in another spelling.

    Where tokens are characters or bytes, only kinds of characters are groups: the letter "a" is no article. Elsewhere
    a letter that no blank precedes is a piece of a word, and in no group.
    """
    single = tokenizer.kind in ("char", "byte")
    named = [name for name in GROUPS if (name in CHARACTERS if single else name not in LETTERS)]
    members = {word: name for name in reversed(named) for word in GROUPS[name].split()}
    texts = {token: tokenizer.decode([token]) for token in tokens}
    words = {token: text.strip().lower() for token, text in texts.items()}
    common = Counter(word for word in words.values() if word)
    groups = {}
    for token, word in words.items():
        if not single and len(word) == 1 and word.isalpha() and not texts[token].startswith(" "):
            continue
        if word in members:
            groups[token] = members[word]
        elif word.isalpha() and len(word) > 2 and common[word] > 1:
            groups[token] = f"{QUOTE}{word}”"
    sizes = Counter(groups.values())
    return {token: name for token, name in groups.items() if sizes[name] > 1}


def similarity(vectors: Floats, order: Sequence[int], groups: Mapping[int, str]) -> Similarity | None:
    """Do tokens that are used alike lie closer than chance has it? None where fewer than ten pairs are used alike.

    A permutation test of the mean over groups, so that no large group stands for all: the groups are dealt out anew
    among tokens of like frequency (bands of ``BAND`` in order of frequency), since frequent tokens lie together
    whatever they mean. ``lower`` and ``upper`` hold 95% of what that gives; ``p`` is one-sided.
    """
    labels = np.array([groups.get(token, "") for token in order])
    cosines = _unit(vectors[list(order)])
    cosines = cosines @ cosines.T
    pairs = int(np.triu(_same(labels), 1).sum())
    if pairs < 10:
        return None
    means = _means(cosines, labels)
    within = float(np.mean(list(means.values())))
    generator = np.random.default_rng(0)
    drawn = np.array([np.mean(list(_means(cosines, _dealt(labels, generator)).values())) for _ in range(DRAWS)])
    p = (1 + int((drawn >= within).sum())) / (1 + DRAWS)
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    matched = float(drawn.mean())
    above = sum(mean > matched for mean in means.values())
    return Similarity(within, matched, float(lower), float(upper), p, pairs, len(means), above)


def listed(
    subject: InspectedRun, vectors: Floats, groups: Mapping[int, str], counts: Counter[int]
) -> list[dict[str, Any]]:
    """Each group with its tokens, how often the examples hold them, and the mean cosine of its pairs."""
    unit = _unit(vectors)
    tokens_of: dict[str, list[int]] = {}
    for token, name in groups.items():
        tokens_of.setdefault(name, []).append(token)
    return [
        {
            "group": name,
            "tokens": [spelled(subject.run.tokenizer, token) for token in tokens],
            "times": sum(counts[token] for token in tokens),
            "cosine": _mean(unit[tokens] @ unit[tokens].T),
        }
        for name, tokens in tokens_of.items()
    ]


def _means(cosines: Floats, labels: NDArray[Any]) -> dict[str, float]:
    """The mean cosine within each group of a list; of all pairs of spellings of a word together, as one group."""
    means: dict[str, float] = {}
    spellings = []
    for name in dict.fromkeys(labels[labels != ""].tolist()):
        group_cosines = cosines[np.ix_(labels == name, labels == name)]
        if len(group_cosines) < 2:
            continue
        if name.startswith(QUOTE):
            spellings += group_cosines[np.triu_indices(len(group_cosines), 1)].tolist()
        else:
            means[name] = _mean(group_cosines)
    return means | ({SPELLINGS: float(np.mean(spellings))} if spellings else {})


def _mean(cosines: Floats) -> float:
    """Over the pairs i < j."""
    return float(cosines[np.triu_indices(len(cosines), 1)].mean())


def _same(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which tokens have the same group."""
    same: NDArray[np.bool_] = (labels[:, None] == labels) & (labels != "")
    return same


def _dealt(labels: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    bands = np.arange(len(labels)) // BAND
    return labels[np.lexsort((generator.random(len(labels)), bands))]


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit
