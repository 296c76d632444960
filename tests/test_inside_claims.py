"""What is said of a model's inside is judged by its measurements alone, and comes out as they do."""

from typing import Any

import pytest

from archbench.inspection.pages import claims as inside_claims
from archbench.reports.claims.ledger import OPPOSITE, REPRODUCED, UNDECIDED, UNMET

BACK = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]
BOTH = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]


def verdict(name: str, **measurements: Any) -> str:
    (saying,) = [saying for saying in inside_claims.SAYINGS if saying.name == name]
    return saying.judge(measurements)[0]


def map_of(weights: list[list[float]], layer: str = "layer 1", part: str = "self", at: tuple[int, int] = (0, 0)) -> Any:
    return {"layer": layer, "part": part, "first": list(at), "weights": [BACK, weights]}


@pytest.mark.parametrize(
    ("p", "above", "expected"),
    [(0.01, 3, REPRODUCED), (0.01, 2, UNDECIDED), (0.5, 4, UNDECIDED), (0.99, 0, OPPOSITE)],
)
def test_embeddings_are_similar_where_the_permutation_test_and_most_groups_say_so(
    p: float, above: int, expected: str
) -> None:
    test = {"within": 0.1, "matched": 0.0, "p": p, "groups": 4, "above": above}
    assert verdict("similar-embeddings", similarity=test) == expected


def test_no_groups_of_tokens_decide_nothing() -> None:
    assert verdict("similar-embeddings", similarity=None) == UNMET


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ([("1", "same token"), ("1", "first token"), ("2", "first token"), ("2", "induction")], REPRODUCED),
        ([("1", "mixed"), ("1", "first token"), ("2", "first token"), ("2", "induction")], UNDECIDED),
        (
            [("1", "induction"), ("1", "induction"), ("2", "first token")],
            OPPOSITE,
        ),  # a head alone is no layer of several
        ([("1", "mixed"), ("1", "mixed"), ("2", "mixed"), ("2", "mixed")], UNDECIDED),  # no role is not the same role
        ([("1", "mixed"), ("2", "first token")], UNMET),
        ([], UNMET),
    ],
)
def test_heads_differ_where_every_layer_of_several_has_several_roles(
    roles: list[tuple[str, str]], expected: str
) -> None:
    heads = [{"layer": layer, "part": "self", "role": role} for layer, role in roles]
    assert verdict("heads-differ", heads=heads) == expected


def test_heads_of_a_layer_are_told_apart_by_part() -> None:
    heads = [{"layer": "1", "part": part, "role": role} for part, role in (("self", "mixed"), ("cross", "alignment"))]
    assert verdict("heads-differ", heads=heads) == UNMET


def probed(axis: str = "both", layers: int = 3, **behind: float) -> list[dict[str, Any]]:
    """How far the embedding is behind the layers for each question, or before them, in standard errors (0.01)."""
    return [
        {"axis": axis, "question": question.replace("_", " "), "layer": layer, "behind": value, "behind_error": 0.01}
        for question, errors in behind.items()
        for layer, value in (
            ("embedding", max(errors, 0) / 100),
            *((f"layer {number}", max(-errors, 0) / 100) for number in range(1, layers + 1)),
        )
    ]


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        (probed(this_token=0, token_before=10, token_after=3), REPRODUCED),
        (probed(this_token=0, token_before=10, token_after=1), UNDECIDED),
        (probed(this_token=3, token_before=10, token_after=3), UNDECIDED),
        (probed(this_token=0, token_before=-3, token_after=-10), OPPOSITE),
        (probed(this_token=0, token_before=-3, token_after=-1), UNDECIDED),
        (probed(this_token=0, token_before=1, token_after=0), UNDECIDED),  # not to be told apart is not the opposite
        (probed(token_before=10, token_after=3), UNMET),
        ([], UNMET),
    ],
)
def test_layers_build_up_where_neighbours_are_read_later_and_the_token_is_not(probes: Any, expected: str) -> None:
    assert verdict("layers-build-up", probes=probes, family="encoder") == expected


def test_two_layers_have_no_middle_one() -> None:
    for layers, expected in ((2, UNMET), (3, REPRODUCED)):
        probes = probed(layers=layers, this_token=0, token_before=10, token_after=3)
        assert verdict("layers-build-up", probes=probes, family="encoder") == expected


def test_what_a_model_learns_is_not_judged_where_it_is_below_its_gate() -> None:
    similar = {"within": 0.1, "matched": 0.0, "p": 0.01, "groups": 4, "above": 3}
    inspection = {
        "family": "encoder",
        "similarity": similar,
        "heads": [],
        "probes": probed(this_token=0, token_before=10, token_after=3),
        "text": {"right": False},
        "step": {},
        "snapshots": [],
        "maps": [map_of(BOTH)],
    }
    passed, below = (
        {finding.saying.name: finding for finding in inside_claims.findings({**inspection, "gate": reason})}
        for reason in ("", "no better than a byte 5-gram")
    )
    for name in ("similar-embeddings", "layers-build-up"):
        assert (passed[name].verdict, below[name].verdict) == (REPRODUCED, UNMET)
        assert "no better than a byte 5-gram" in below[name].evidence
    assert below["looks-everywhere"].verdict == REPRODUCED  # the architecture, whatever was learned


@pytest.mark.parametrize(
    ("family", "axis", "expected"),
    [
        ("decoder", "both", UNDECIDED),
        ("encoder-decoder", "target", UNDECIDED),
        ("encoder-decoder", "source", REPRODUCED),
    ],
)
def test_what_a_causal_layer_is_trained_to_tell_is_no_layer_that_builds_up(
    family: str, axis: str, expected: str
) -> None:
    probes = [
        *probed(axis, this_token=0, token_after=10),
        *probed(axis, token_before=3 if expected == REPRODUCED else 0),
    ]
    assert verdict("layers-build-up", probes=probes, family=family) == expected


@pytest.mark.parametrize(
    ("after", "likelier", "expected"),
    [(0.9, 2, REPRODUCED), (0.9, 1, UNDECIDED), (1.0, 2, OPPOSITE), (1.1, 2, OPPOSITE)],
)
def test_a_step_makes_the_right_tokens_likelier_where_the_loss_falls(
    after: float, likelier: int, expected: str
) -> None:
    positions = [{"before": 0.1, "after": 0.2 if place < likelier else 0.05} for place in range(2)]
    step = {"loss": 1.0, "loss_after": after, "positions": positions}
    assert verdict("step-makes-likelier", step=step, text={"right": True}) == expected
    assert verdict("step-makes-likelier", step=step, text={"right": False}) == UNMET


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([3, 2, 2.5, 1], REPRODUCED),
        ([3, 3.1, 3.2, 1], UNDECIDED),
        ([3, 2, 1, 3], OPPOSITE),
        ([3, 2], UNMET),
        ([], UNMET),
    ],
)
def test_predictions_get_better_where_the_loss_fell_step_by_step(losses: list[float], expected: str) -> None:
    assert verdict("gradually-better", snapshots=[{"mean_loss": loss} for loss in losses]) == expected


def test_what_comes_later_is_seen_in_one_head_of_one_layer() -> None:
    assert verdict("looks-back-only", maps=[map_of(BACK), map_of(BACK, "layer 2")]) == REPRODUCED
    assert verdict("looks-back-only", maps=[map_of(BACK), map_of(BOTH, "layer 2")]) == OPPOSITE
    assert verdict("looks-everywhere", maps=[map_of(BOTH), map_of(BOTH, "layer 2")]) == REPRODUCED
    assert verdict("looks-everywhere", maps=[map_of(BOTH), map_of(BACK, "layer 2")]) == OPPOSITE
    assert verdict("looks-everywhere", maps=[]) == verdict("looks-back-only", maps=[]) == UNMET


def test_a_map_that_was_cut_counts_from_where_it_begins() -> None:
    later, earlier = map_of([[1.0]], at=(3, 4)), map_of([[1.0]], at=(4, 3))
    for attention_map in (later, earlier):
        attention_map["weights"] = [[[1.0]]]
    assert verdict("looks-back-only", maps=[later]) == OPPOSITE
    assert verdict("looks-back-only", maps=[earlier]) == REPRODUCED


def test_an_encoder_decoder_has_a_part_that_reads_and_one_that_writes() -> None:
    crossing = map_of(BOTH, "target 1", "cross")
    right = [map_of(BOTH, "source 1"), map_of(BACK, "target 1"), crossing]
    assert verdict("two-parts", maps=right) == REPRODUCED
    assert verdict("two-parts", maps=[map_of(BACK, "source 1"), *right[1:]]) == OPPOSITE
    assert verdict("two-parts", maps=[right[0], map_of(BOTH, "target 1"), crossing]) == OPPOSITE
    assert verdict("two-parts", maps=right[:1]) == UNMET


@pytest.mark.parametrize("family", ["decoder", "encoder", "encoder-decoder"])
def test_what_is_said_of_one_family_is_not_asked_of_another(family: str) -> None:
    names = {saying.name for saying in inside_claims.SAYINGS if saying.family in ("", family)}
    assert len(names) == len(inside_claims.SAYINGS) - 2
