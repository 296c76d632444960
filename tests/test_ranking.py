"""The state of a data set follows from its tests, else from intervals; each state has its sentence."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import pytest
import synthetic
from synthetic import SENTIMENT, single

from archbench.reports.base import tables
from archbench.reports.base.statistics import Interval
from archbench.reports.contrasts import words
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.ranking import Case, Ranking, ranking, standing
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.gates import Gate
from archbench.tasks.metrics.builtin import BUILTIN

NAMES = ("decoder", "encoder", "encoder-decoder")
PAIRS = (NAMES[:2], NAMES[::2], NAMES[1:])
APART, CLOSE, EVEN = ((mean, mean - 0.05, mean + 0.05, 0.02, 9.0) for mean in (0.1, 0.02, 0.0))
ONLY = {"cells": slice(0, 1), "differences": {}}
TESTED: list[tuple[str, dict[str, Any]]] = [
    ("ahead ahead open", {"case": "wins", "beaten": NAMES[1:], "decided": 2}),
    ("open ahead open", {"case": "beats", "beaten": NAMES[2:], "decided": 1}),
    ("open open open", {"case": "leads", "decided": 0}),
    ("equal equal equal", {"case": "equal", "leaders": NAMES, "decided": 3}),
    ("below ahead open", {"case": "wins", "beaten": NAMES[1:], "below": NAMES[1:2], "decided": 2}),
]
UNTESTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"differences": (APART, APART)}, {"case": "leads", "beaten": NAMES[1:]}),
    ({"differences": (CLOSE, APART)}, {"case": "leads", "beaten": NAMES[2:], "rivals": NAMES[1:2]}),
    ({"differences": (EVEN, CLOSE)}, {"case": "share", "leaders": NAMES[:2], "rivals": NAMES[2:]}),
    ({"differences": (EVEN, EVEN)}, {"case": "same", "leaders": NAMES}),
    (ONLY, {"case": "alone"}),
    (ONLY | {"finetuned": {"bert": 0.7}}, {"case": "beside checkpoints"}),
    ({"cells": slice(0), "differences": {}, "leader": ""}, {"case": "none", "leaders": ()}),
]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("ranking")
    synthetic.write_store(root, [single(SENTIMENT, truth=dict(zip(NAMES, (0.9, 0.8, 0.7), strict=True)))])
    return Report(tables.collect(root)).first[0]


def _changed(comparison: Comparison, changes: Mapping[str, Any]) -> Comparison:
    cells = comparison.cells[changes.get("cells", slice(None))]
    gaps = dict(zip(NAMES[1:], (Interval(*gap) for gap in changes["differences"]), strict=False))
    return replace(comparison, **{**changes, "cells": cells, "differences": gaps})


def _contrast(first: str, second: str, outcome: str) -> Contrast:
    chances = {"open": (0.5, 0.9), "equal": (0.5, 0.01), "unknown": (math.nan, math.nan)}
    p, beyond = chances.get(outcome, (0.01, 0.9))
    mean, *rest = APART
    gap = Interval(-mean if outcome == "behind" else mean, *rest)
    gates = (Gate("encoder"),) if outcome == "below" else ()
    place = ("sentiment", "classification", "", BUILTIN["accuracy"])
    return Contrast(*place, first, second, gap, p, beyond, 0.02, 0.1, None, 3, failed_gates=gates)


@pytest.mark.parametrize(("outcomes", "expected"), TESTED)
def test_tests_decide_the_state(comparison: Comparison, outcomes: str, expected: Mapping[str, Any]) -> None:
    contrasts = [_contrast(*pair, outcome) for pair, outcome in zip(PAIRS, outcomes.split(), strict=True)]
    assert [contrast.outcome for contrast in contrasts] == outcomes.replace("below", "ahead").split()
    state = ranking(comparison, contrasts)
    assert state == Ranking(**{"leaders": NAMES[:1], "pairs": 3, "complete": True, **expected})
    assert state.state == ("decided" if state.decided == 3 else "open")
    of_two = ranking(comparison, [contrast for contrast in contrasts if "encoder-decoder" not in contrast.second])
    assert of_two.outside == NAMES[2:]


@pytest.mark.parametrize(("changes", "expected"), UNTESTED)
def test_without_a_test_intervals_give_the_state(
    comparison: Comparison, changes: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    state = ranking(_changed(comparison, changes))
    assert state == Ranking(**{"leaders": NAMES[:1], **expected}) and state.state != "decided"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("ahead", "ahead", "open"), {"a": "wins", "b": "loses", "c": "loses"}),
        (("ahead", "open", "open"), {"a": "open", "b": "loses", "c": "open"}),
        (("equal", "equal", "equal"), {"a": "ties", "b": "ties", "c": "ties"}),
        (("equal", "ahead", "ahead"), {"a": "ties", "b": "ties", "c": "loses"}),
        (("open", "open", "open"), {"a": "open", "b": "open", "c": "open"}),
        (("unknown", "unknown", "unknown"), {"a": "unknown", "b": "unknown", "c": "unknown"}),
        (("behind", "ahead", "unknown"), {"a": "loses", "b": "open", "c": "loses"}),
    ],
)
def test_a_word_of_the_matrix_follows_from_the_primary_contrasts(
    outcomes: tuple[str, ...], expected: dict[str, str]
) -> None:
    contrasts = [_contrast(*pair, outcome) for pair, outcome in zip(("ab", "ac", "bc"), outcomes, strict=True)]
    assert {name: standing(name, contrasts) for name in "abc"} == expected


def test_every_state_has_a_sentence_of_its_own(comparison: Comparison) -> None:
    said = {words.summary(comparison, Ranking(case, NAMES[:1], NAMES[1:2], pairs=3)) for case in get_args(Case)}
    assert len(said) == len(get_args(Case)) and not any("{" in text for text in said)


def test_what_a_state_rests_on_and_who_takes_no_part_are_sentences_beside_the_outcome(comparison: Comparison) -> None:
    one_seed = replace(comparison, differences=dict.fromkeys(NAMES[1:], Interval(0.1, math.nan, math.nan)))
    leads = Ranking("leads", NAMES[:1])
    further = [
        (comparison, replace(leads, beaten=NAMES[1:]), "The lead over encoder and encoder-decoder has a 95% interval"),
        (comparison, replace(leads, rivals=NAMES[1:2]), "The lead over encoder could be chance (nearest: encoder, +0."),
        (one_seed, leads, "One seed gives no interval."),
        (comparison, replace(leads, pairs=1, complete=True), "No architecture wins."),
        (comparison, replace(leads, pairs=1, below=NAMES[1:2]), "Below its gate: encoder."),
        (comparison, replace(leads, pairs=1, outside=NAMES[2:]), "in no primary contrast: encoder-decoder."),
    ]
    usual = words.summary(comparison, replace(leads, pairs=1))
    for compared, state, sentence in further:
        text = words.summary(compared, state)
        assert usual in text and sentence in text and sentence not in usual
