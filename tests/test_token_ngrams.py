"""Unigram and bigram rows: distributions, blind to sources and to the test, no worse than any other weights."""

import math
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archbench.tasks.base.example import BOS, END
from archbench.tasks.base.values import Baseline, Prepared, TaskConfig
from archbench.tasks.baselines import token_ngrams
from archbench.tasks.baselines.token_ngrams import TargetTokens, counted, fitted_weights, terms
from archbench.tasks.kinds import task

LETTERS = "abcdefgh"
FOLLOWING = np.array([[0.9 if b == (a + 1) % 8 else 0.1 / 7 for b in range(8)] for a in range(8)])
RATE = float(-(FOLLOWING * np.log2(FOLLOWING)).sum(axis=1).mean())  # bits of a letter, each context equally frequent


def markov(count: int, seed: int) -> str:
    """Text in which a letter is mostly followed by the next one of the alphabet."""
    random, at = np.random.default_rng(seed), 0
    letters = []
    for _ in range(count):
        at = int(random.choice(8, p=FOLLOWING[at]))
        letters.append(LETTERS[at])
    return "".join(letters)


def text_task(folder: Path, texts: dict[str, str], **changes: Any) -> Prepared:
    folder.mkdir(exist_ok=True)
    for split, text in texts.items():
        (folder / f"{split}.txt").write_text(text)
    settings = {"tokenizer": "char", "source_length": 0, "target_length": 16, "test_examples": 1000, **changes}
    data = {split: f"{split}.txt" for split in texts}
    config = TaskConfig("generation", "text", data, folder=str(folder), **settings)
    return task.prepare(config, folder / "cache")


def pair_task(folder: Path, rows: dict[str, list[tuple[str, str]]]) -> Prepared:
    folder.mkdir(exist_ok=True)
    for split, pairs in rows.items():
        (folder / f"{split}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in [("source", "target"), *pairs]))
    config = TaskConfig("translation", "pairs", {split: f"{split}.tsv" for split in rows}, folder=str(folder))
    return task.prepare(TaskConfig(**{**vars(config), "tokenizer": "char"}), folder / "cache")


def by_name(rows: list[Baseline]) -> dict[str, float]:
    return {row.name: row.value for row in rows if row.metric == "bits_per_byte"}


def splits(seed: int = 0) -> dict[str, str]:
    return {"train": markov(6000, seed), "validation": markov(800, 11), "test": markov(1600, 12)}


@pytest.mark.parametrize("order", [1, 2])
def test_probabilities_sum_to_one_after_every_context(order: int) -> None:
    random, size = np.random.default_rng(0), 12
    allowed = np.arange(size) >= 4
    tokens = random.integers(4, 9, 200)  # of 8 tokens that a target may use three are never seen
    targets = TargetTokens(tokens, np.concatenate([[BOS], tokens[:-1]]))
    counts = counted(targets, allowed)
    weights = fitted_weights(terms(counts, TargetTokens(tokens[::3], tokens[1::3][: len(tokens[::3])]))[: order + 1])
    for context in range(size):
        every = TargetTokens(np.arange(size), np.full(size, context))
        chances = weights @ terms(counts, every)[: order + 1]
        assert chances.sum() == pytest.approx(1)
        assert ((chances > 0) == allowed).all()


def test_the_bigram_learns_a_planted_rule_and_the_unigram_cannot(tmp_path: Path) -> None:
    rows = by_name(task.baselines(text_task(tmp_path, splits())))
    assert rows["unigram"] == pytest.approx(3, abs=0.02), "letters are equally frequent: log2 of 8"
    assert RATE < rows["bigram"] < RATE + (3 - RATE) / 16 + 0.15, "the first letter of a window has no letter before it"


def test_a_bigram_of_independent_letters_is_no_worse_than_the_unigram(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = {split: "".join(random.choice(list(LETTERS), 3000)) for split in ("train", "validation", "test")}
    rows = by_name(task.baselines(text_task(tmp_path, texts)))
    assert rows["bigram"] == pytest.approx(rows["unigram"], abs=0.02)


def test_no_weights_on_a_grid_suit_validation_better() -> None:
    random = np.random.default_rng(1)
    chances = random.dirichlet([1, 1, 1], 4000).T
    best = np.log(fitted_weights(chances) @ chances).sum()
    grid = [weights for weights in product(np.linspace(0, 1, 21), repeat=3) if abs(sum(weights) - 1) < 1e-9]
    assert max(np.log(np.array(weights) @ chances + 1e-300).sum() for weights in grid) < best + 0.1


def test_counts_and_weights_use_no_test_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[list[float]] = []
    original = token_ngrams.fitted_weights
    monkeypatch.setattr(
        token_ngrams,
        "fitted_weights",
        lambda validation: fitted.append((weights := original(validation)).tolist()) or weights,
    )
    plain = by_name(task.baselines(text_task(tmp_path / "one", splits())))
    other = by_name(task.baselines(text_task(tmp_path / "two", {**splits(), "test": "abababab" * 100})))
    assert fitted[:2] == fitted[2:] and plain["bigram"] != other["bigram"]
    task.baselines(text_task(tmp_path / "three", {**splits(), "validation": "abababab" * 100}))
    assert fitted[4:] != fitted[:2]


def test_sources_have_no_say(tmp_path: Path) -> None:
    rows = {
        split: [(f"{n} x", markov(3 + n % 7, seed + n)) for n in range(count)]
        for split, count, seed in (("train", 200, 0), ("validation", 40, 500), ("test", 40, 600))
    }
    others = {split: [(a[::-1] if split == "test" else a, b) for a, b in pairs] for split, pairs in rows.items()}
    baselines = [
        by_name(task.baselines(pair_task(tmp_path / name, pairs))) for name, pairs in (("one", rows), ("two", others))
    ]
    assert baselines[0]["unigram"] == baselines[1]["unigram"] and baselines[0]["bigram"] == baselines[1]["bigram"]


def test_bits_are_those_of_the_definition_with_end_counted(tmp_path: Path) -> None:
    """Loops over targets in place of arrays."""
    rows = {
        split: [("x", markov(3 + n % 5, seed + n)) for n in range(count)]
        for split, count, seed in (("train", 60, 0), ("validation", 20, 500), ("test", 20, 600))
    }
    data = pair_task(tmp_path, rows)
    train = [[BOS, *data.train[i].target.tolist()] for i in range(len(data.train))]
    assert all(target[-1] == END for target in train)
    pairs = [pair for target in train for pair in pairwise(target)]
    allowed, size = int(data.allowed_tokens.sum()), len(pairs)
    weights = fitted_weights(
        terms(
            counted(token_ngrams.training_targets(data.train, 10**6), data.allowed_tokens),
            token_ngrams.training_targets(data.validation, 10**6),
        )
    )
    bits = 0.0
    for i in range(len(data.test)):
        target = [BOS, *data.test[i].target.tolist()]
        for before, token in pairwise(target):
            unigram = sum(b == token for _, b in pairs) / size
            after = sum(a == before for a, _ in pairs)
            bigram = pairs.count((before, token)) / after if after else unigram
            bits -= math.log2(weights @ [1 / allowed, unigram, bigram])
    rows_made = by_name(task.baselines(data))
    assert rows_made["bigram"] == pytest.approx(bits / data.test.target_bytes.sum())


@pytest.mark.parametrize("source_length", [0, 8])
def test_targets_of_running_text_are_all_of_it_in_pieces(tmp_path: Path, source_length: int) -> None:
    data = text_task(tmp_path, splits(), source_length=source_length, target_length=16)
    width = 16 - (source_length > 0)
    targets = token_ngrams.training_targets(data.train, 10**6)
    starts = np.flatnonzero(targets.contexts == BOS)
    assert set(np.diff(starts)) == {16} and len(starts) == 6000 // width
    assert (targets.tokens[starts + 15] == END).all() == bool(source_length)
    few = token_ngrams.training_targets(data.train, 100)
    assert len(few.tokens) == 16 * (100 // width) and (few.tokens == targets.tokens[-len(few.tokens) :]).all()
    assert {"unigram", "bigram"} <= set(by_name(task.baselines(data)))
