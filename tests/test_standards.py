"""What a claim's evidence has to be: each condition takes a decision away, and nothing else does."""

import json
import math
from dataclasses import replace
from pathlib import Path

import figure_stores
import pandas as pd
import pytest
import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, single

from archbench.reports.base import tables
from archbench.reports.claims import best_evidence, claims, ledger, sides, standards, tuning
from archbench.reports.claims.evidence import ClaimVerdict
from archbench.reports.claims.ledger import (
    MISSED,
    NOTICED,
    OPPOSITE,
    OPPOSITE_DIRECTION,
    REPRODUCED,
    SAME_DIRECTION,
    UNDECIDED,
    Claim,
)
from archbench.reports.page import ledger_page
from archbench.reports.report import Report
from archbench.runs.experiment import spec

pytestmark = pytest.mark.usefixtures("any_rate_counts")

TUNED = standards.tuned  # before the fixture takes it away

CLEAR = {"seeds": 5, "spread": 0.004, "examples": 2000}
ADAPTED = [("decoder{own, finetune, 1000}", "encoder{own, finetune, 1000}")]


def claim(name: str = "imagined", **fields: object) -> Claim:
    start: dict[str, object] = {"statement": f"So says {name}", "source": "nobody", "reading": "better", "kind": ()}
    return Claim(name, **{**start, **fields})  # type: ignore[arg-type]


def judged(stated: list[Claim], report: Report, monkeypatch: pytest.MonkeyPatch) -> list[ClaimVerdict]:
    for module in (claims, ledger):
        monkeypatch.setattr(module, "ledger", lambda: tuple(stated))
    return list(claims.claim_verdicts(Report(report.tables)))


def planted(root: Path, *tasks: synthetic.Imagined) -> Report:
    synthetic.write_store(root, tasks)
    return Report(tables.collect(root))


def adapted(**scores: float) -> Report:
    """A report with pretrained models, where the starts named have these accuracies in every family."""
    frames = figure_stores.judged("pretraining").tables
    runs, all_scores = frames["runs"], frames["scores"].copy()
    for start, score in scores.items():
        named = runs.loc[(runs["start"] == start) & (runs["examples"] == 1000), ["run", "architecture", "seed"]]
        for _, row in named.iterrows():
            value = score + 0.1 * (row["architecture"] == "decoder") + 0.002 * int(row["seed"])
            is_score = (all_scores["run"] == row["run"]) & (all_scores["metric"] == "accuracy")
            all_scores.loc[is_score, "value"] = value
    return Report({**frames, "scores": all_scores, "predictions": frames["predictions"].iloc[:0]})


@pytest.mark.parametrize(
    ("own", "scratch", "verdict"),
    [(0.7, 0.6, SAME_DIRECTION), (0.6, 0.7, UNDECIDED), (0.7, 0.7, UNDECIDED)],
    ids=["helps", "hurts", "does nothing"],
)
def test_what_is_no_better_for_its_pretraining_decides_nothing(
    own: float, scratch: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = claim(kind=("classification",), ahead=tuple(ADAPTED), miniature=True)
    [ruling] = judged([stated], adapted(own=own, scratch=scratch), monkeypatch)
    assert ruling.verdict == verdict, ruling.evidence
    assert ("no better than from scratch" in ruling.evidence) == (verdict == UNDECIDED)
    assert bool(ruling.because) == (verdict == UNDECIDED) and ruling.strength.complete != bool(ruling.because)
    assert math.isnan(ruling.p) == (verdict == UNDECIDED)


def test_a_claim_about_the_gain_itself_may_find_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = ("decoder{own, finetune, 1000}", "decoder{scratch, finetune, 1000}")
    stated = claim(kind=("classification",), ahead=(pair,), miniature=True)
    [ruling] = judged([stated], adapted(own=0.6, scratch=0.7), monkeypatch)
    assert (ruling.verdict, ruling.because) == (OPPOSITE_DIRECTION, ())


def test_without_a_run_from_scratch_the_test_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    report = adapted(own=0.7)
    runs = report.tables["runs"]
    rest = runs[(runs["start"] != "scratch") | (runs["examples"] != 1000)]
    stated = claim(kind=("classification",), ahead=tuple(ADAPTED), miniature=True)
    [ruling] = judged([stated], Report({**report.tables, "runs": rest}), monkeypatch)
    assert ruling.verdict == SAME_DIRECTION and not ruling.because
    assert any(lack.startswith("no run from scratch to compare") for lack in ruling.strength.lacks)


@pytest.mark.parametrize(("draw", "verdict"), [("once", UNDECIDED), ("seed", SAME_DIRECTION)])
def test_a_claim_about_so_many_labels_takes_a_draw_for_each_seed(
    draw: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = adapted(own=0.7, scratch=0.6)
    task = {"name": "sentiment", "examples": 1000, "draw": draw}
    experiment = pd.DataFrame({"key": ["specification"], "value": [json.dumps({"tasks": [task]})]})
    stated = claim(kind=("classification",), ahead=tuple(ADAPTED), miniature=True)
    [ruling] = judged([stated], Report({**report.tables, "experiment": experiment}), monkeypatch)
    assert ruling.verdict == verdict, ruling.evidence
    assert ruling.because == (("every seed has the same draw of the labels",) if verdict == UNDECIDED else ())
    assert ruling.command == ('labels that each seed draws (draw = "seed")' if verdict == UNDECIDED else "")


@pytest.mark.parametrize("over", ["bigram", "ngram"])
@pytest.mark.parametrize(("value", "verdict"), [(5.0, REPRODUCED), (2.0, OPPOSITE)])
def test_a_baseline_over_tokens_decides_nothing(
    tmp_path: Path, over: str, value: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = replace(SHAKESPEARE, references=SHAKESPEARE.references | {over: value}, seeds=5)
    stated = claim(kind=("generation",), over=over)
    [ruling] = judged([stated], planted(tmp_path, text), monkeypatch)
    assert ruling.verdict == (UNDECIDED if over == "bigram" or verdict == OPPOSITE else verdict)
    assert ("beats refute nothing" in ruling.evidence) == (verdict == OPPOSITE)
    [turned] = judged([replace(stated, over="ngram", under=True)], planted(tmp_path / "b", text), monkeypatch)
    assert over == "bigram" or turned.verdict == {REPRODUCED: OPPOSITE, OPPOSITE: REPRODUCED}[verdict]
    assert ("another baseline for each tokenizer" in ruling.evidence) == (over == "bigram")


def rivals(*names: str, turned: bool = False, **fields: object) -> list[Claim]:
    pair = ("encoder", "decoder") if turned else ("decoder", "encoder")
    return [claim(name, kind=("classification",), ahead=(pair,), **fields) for name in names]


def test_the_same_runs_decide_one_claim_the_first_of_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    mirrored = [*rivals("first"), *rivals("mirror", turned=True), *rivals("again")]
    first, *others = judged(mirrored, report, monkeypatch)
    assert (first.verdict, [other.verdict for other in others]) == (REPRODUCED, [UNDECIDED] * 2)
    for other in others:
        assert other.because == ("the same runs already decide “first”",) and math.isnan(other.p)
        assert "undecided, because the same runs already decide “first”." in other.evidence
    swapped = judged(mirrored[::-1], report, monkeypatch)
    assert [ruling.verdict for ruling in swapped] == [REPRODUCED, UNDECIDED, UNDECIDED]


def test_a_claim_that_also_needs_other_runs_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    pairs = (("decoder", "encoder"), ("encoder-decoder", "encoder"))
    more = claim("more", kind=("classification",), ahead=pairs)
    assert [ruling.verdict for ruling in judged([*rivals("first"), more], report, monkeypatch)] == [REPRODUCED] * 2
    assert [ruling.verdict for ruling in judged([more, *rivals("last")], report, monkeypatch)] == [
        REPRODUCED,
        UNDECIDED,
    ]


def test_a_claim_that_names_a_pair_both_ways_counts_it_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = {"decoder": 0.6, "encoder": 0.6, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **{**CLEAR, "examples": 20_000}))
    both = claim(kind=("classification",), ahead=(("decoder", "encoder"), ("encoder", "decoder")), enough=True)
    [ruling] = judged([both], report, monkeypatch)
    assert (ruling.verdict, ruling.because) == (UNDECIDED, ("it counts one contrast twice",))


@pytest.mark.parametrize(("lost", "verdict"), [(0.2, NOTICED), (0.7, MISSED), (0.8, MISSED)])
def test_a_control_is_noticed_or_not_and_has_no_gate(
    tmp_path: Path, lost: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = ("decoder", "decoder-no-mask")
    report = planted(tmp_path, single(SENTIMENT, truth={"decoder": 0.7, "decoder-no-mask": lost}, **CLEAR))
    control = claim(kind=("classification",), ahead=(pair,), control=True)
    finding = replace(control, name="finding", control=False)
    [ruling] = judged([control], report, monkeypatch)
    assert ruling.verdict == verdict and not ruling.because
    assert (judged([finding], report, monkeypatch)[0].because != ()) == (lost < 0.39)  # the majority class
    assert "not counted (a control)" in judged([control, finding], report, monkeypatch)[1].evidence.lower()


def test_controls_stand_in_a_table_of_their_own_and_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.5}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    other = (("decoder", "encoder-decoder"),)
    finding = claim("finding", kind=("classification",), ahead=other, recipe="the source had a head")
    stated = [*rivals("control", control=True), finding]
    rulings = judged(stated, report, monkeypatch)
    assert [ruling.verdict for ruling in rulings] == [NOTICED, REPRODUCED]  # a control takes no runs away
    entries = best_evidence.evidence("one", report, rulings)
    records = [best_evidence.record(each, [entry]) for each, entry in zip(stated, entries, strict=True)]
    words = ledger_page.markdown(records, "")
    assert "1 of 1 claims are decided over all reports." in words
    before, table = words.split("| control | tested as |")
    assert "So says finding" in before and "So says control" not in before
    assert "| control noticed | [one](one/) |" in table.partition("\n\n")[0]
    assert "| reproduced; the source had a head | [one](one/) | not tuned | no | yes |" in before
    page = ledger_page.page(records, "archbench")
    assert "control noticed" in page and "the source had a head" in page


def test_the_tests_of_a_claim_are_a_family_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("decoder", "encoder", "encoder-decoder")
    pairs = tuple((f"{name}{{own, finetune, 1000}}", f"{name}{{scratch, finetune, 1000}}") for name in names)
    three, one = (claim(f"{len(some)}", kind=("classification",), ahead=some) for some in (pairs, pairs[:1]))
    alone, again = (
        judged(stated, adapted(own=0.61, scratch=0.6), monkeypatch)[0] for stated in ([three], [three, one])
    )
    assert {contrast.corrected_for for contrast in alone.contrasts} == {3}
    assert alone.contrasts == again.contrasts  # whatever other claims there are
    [single_test] = judged([one], adapted(own=0.61, scratch=0.6), monkeypatch)[0].contrasts
    assert single_test.corrected_for == 1 and single_test.p <= alone.contrasts[0].p


def test_what_is_not_corrected_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.5}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    stated = [*rivals("clear"), claim("open", kind=("classification",), ahead=(("encoder", "encoder-decoder"),))]
    entries = best_evidence.evidence("one", report, judged(stated, report, monkeypatch))
    records = [best_evidence.record(each, [entry]) for each, entry in zip(stated, entries, strict=True)]
    words = ledger_page.corrections(records)
    assert (
        "0 of the 2 that are tested were fixed before the first run of their best evidence; at 5% each, at most 0.0"
        in words
    )
    assert "19 were tried on published tables, 4 were withdrawn, and 0 are decided" in words
    assert "Corrected for all 2 tested claims (Holm), 1 of the 1 decisions would stand. 0 of the 1" in words
    narrow = replace(records[0], corrected=(0.04,))
    assert "0 of the 1 decisions would stand" in ledger_page.corrections([narrow, records[1]])
    fixed = replace(records[0], tested=(replace(records[0].tested[0], fixed=True),))
    assert "1 of the 1 are by readings that were fixed before" in ledger_page.corrections([fixed, records[1]])


def test_words_that_describe_a_claim_change_no_hash_of_what_it_tests() -> None:
    entries = ledger._entries(ledger.CLAIMS)["first"]
    changed = [{**entry, "recipe": "the source had a head", "control": True} for entry in entries]
    assert ledger.content(changed) == ledger.digests()["first"]


def test_a_reading_of_published_tables_was_fixed_before_none_of_them() -> None:
    names = {entry.name for entry in ledger.parts()["readings"]}
    assert names and not names & {successor.name for successor in ledger.successors().values()}
    recorded = " ".join(ledger.OF_FILES.values())
    assert not any(part.before for part in ledger.standing(recorded, names))


def test_controls_name_what_a_model_cannot_do_without() -> None:
    controls = {entry.name for entry in ledger.ledger() if entry.control}
    assert controls == {
        *("attention-focuses", "mask-prevents-cheating", "residuals-carry-depth", "encoder-needs-positions"),
        *("feedforward-bends", "smoothing-costs-likelihood"),
    }
    assert all(entry.preset in spec.presets() for entry in ledger.ledger() if entry.control)


def test_a_few_examples_of_the_first_condition_are_a_draw_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    for run in synthetic.write_store(tmp_path, [single(PHRASES, truth=truth, **CLEAR)]):
        synthetic.change_record(tmp_path, run, examples=2000)
    synthetic.specify(tmp_path, "tasks", [{"name": "phrases-en-de", "examples": 2000, "draw": "once"}])
    stated = claim(kind=("translation",), ahead=(("decoder", "encoder"),))
    [ruling] = judged([stated], Report(tables.collect(tmp_path)), monkeypatch)
    assert (ruling.verdict, ruling.because) == (UNDECIDED, ("every seed has the same draw of the examples",))
    assert standards.in_words([]) == ""


def test_an_effect_is_turned_as_the_claim_has_it_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"phrases-alone": 0.7, "phrases-mixed": 0.3}
    tasks = [
        single(PHRASES, dataset=name, truth={"decoder": score, "encoder": score}, **CLEAR)
        for name, score in truth.items()
    ]
    synthetic.write_store(tmp_path, tasks)
    bases = [{"name": name, "baseline": name.replace("mixed", "alone") * ("mixed" in name)} for name in truth]
    synthetic.specify(tmp_path, "tasks", bases)
    sides = {"mixed": "decoder on .*-mixed", "alone": "decoder on .*-alone", "any": "decoder.*"}
    stated = [
        claim(f"{a} {b}", kind=("translation",), effect=((sides[a], sides[b]),), called="a change")
        for a, b in (("mixed", "alone"), ("alone", "mixed"), ("any", "any"))
    ]
    rulings = [judged([each], Report(tables.collect(tmp_path)), monkeypatch)[0] for each in stated]
    assert [ruling.verdict for ruling in rulings] == [OPPOSITE, REPRODUCED, OPPOSITE]
    assert [len(ruling.counted) for ruling in rulings] == [1, 1, 1]


def test_a_part_of_an_undecided_claim_is_marked_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.7}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    pairs = (("decoder", "encoder"), ("decoder", "encoder-decoder"))
    whole, half, other = (
        claim("whole", kind=("classification",), ahead=pairs),
        claim("half", kind=("classification",), ahead=pairs[:1]),
        claim("other", kind=("classification",), ahead=(("encoder-decoder", "encoder"),)),
    )
    rulings = judged([whole, half, other], report, monkeypatch)
    assert [ruling.verdict for ruling in rulings] == [UNDECIDED, REPRODUCED, REPRODUCED]
    assert [ruling.part_of for ruling in rulings] == ["", "whole", ""]
    entries = best_evidence.evidence("one", report, rulings)
    records = [best_evidence.record(each, [entry]) for each, entry in zip((whole, half, other), entries, strict=True)]
    words = ledger_page.markdown(records, "")
    assert "1 of 3 claims are decided over all reports." in words
    assert "So says half" in words.partition("| part of an undecided claim |")[2].partition("\n\n")[0]


def test_sides_whose_rates_no_trial_chose_decide_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standards, "tuned", TUNED)
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    [untuned] = judged(rivals("x"), report, monkeypatch)
    assert (untuned.verdict, untuned.because) == (UNDECIDED, ("the rates of its sides were not all tuned",))
    assert judged(rivals("x", control=True), report, monkeypatch)[0].verdict == NOTICED
    both = [tuning.Tried("sentiment", name, False) for name in ("decoder", "encoder")]
    for tried, verdict in ((both, REPRODUCED), (both[:1], UNDECIDED)):
        monkeypatch.setattr(tuning, "settings", lambda _, tried=tried: tried)
        assert judged(rivals("x"), report, monkeypatch)[0].verdict == verdict


@pytest.mark.parametrize(("step", "keep", "early"), [(97, "best", True), (98, "best", False), (50, "last", False)])
def test_amounts_of_training_are_about_weights_of_its_end(
    tmp_path: Path, step: int, keep: str, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    runs = report.tables["runs"].assign(best_step=step, steps=100, keep=keep, epochs=1.0)
    for tokens, epochs, named in ((1, 0, False), (2, 0, True), (1, 1, True)):
        amounts = runs.assign(train_tokens=1000 * tokens ** (runs["architecture"] == "decoder").astype(int))
        stated = rivals("x", epochs=float(epochs))
        [ruling] = judged(stated, Report({**report.tables, "runs": amounts}), monkeypatch)
        assert ruling.verdict == (UNDECIDED if early and named else REPRODUCED), ruling.evidence
        assert ("weights were kept before the end (decoder after 97% of its steps" in ruling.evidence) == (
            early and named
        )


def test_what_departs_from_its_source_can_bear_a_claim_out_and_not_refute_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    for recipe, verdicts in (("", [REPRODUCED, OPPOSITE]), ("the source had a head", [REPRODUCED, UNDECIDED])):
        found = [judged(rivals("x", turned=turned, recipe=recipe), report, monkeypatch)[0] for turned in (False, True)]
        assert [ruling.verdict for ruling in found] == verdicts


@pytest.mark.parametrize(("data", "drawn"), [("phrases-en-de:2_000", True), ("phrases-en-de", False)])
def test_data_of_so_many_examples_are_one_draw(
    tmp_path: Path, data: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    synthetic.write_store(tmp_path, [single(PHRASES, truth=truth, **CLEAR)])
    synthetic.specify(tmp_path, "tasks", [{"name": "phrases-en-de", "data": data}])
    stated = claim(kind=("translation",), ahead=(("decoder", "encoder"),))
    report = Report(tables.collect(tmp_path))
    [ruling] = judged([stated], report, monkeypatch)
    assert ruling.because == (("every seed has the same draw of the examples",) if drawn else ())
    assert judged([replace(stated, control=True)], report, monkeypatch)[0].verdict == NOTICED


def test_data_sets_with_one_stream_of_tokens_are_one_side() -> None:
    def rows(**tokens: int) -> pd.DataFrame:
        shared = {"kind": "translation", "origin": "here", "train_examples": 9}
        sizes = [{"dataset": name, "train_tokens": count} for name, count in tokens.items()]
        return pd.DataFrame([size | shared for size in sizes])

    assert standards.same_streams({"datasets": rows(char=1000, byte=1019, bpe=500)}) == {"byte": "char"}
    assert standards.same_streams({"datasets": rows(char=1000, byte=1021)}) == {}
    some = figure_stores.judged("families").tested.primary[0]
    of_char = replace(some, first="decoder on bpe", second="decoder on char")
    of_byte = replace(some, first="decoder on byte", second="decoder on bpe")
    one, other = (standards.identity(each, {"byte": "char"}) for each in (of_char, of_byte))
    assert one == other and standards.identity(of_char, {}) != standards.identity(of_byte, {})


@pytest.mark.parametrize("data", [True, False])
def test_a_claim_about_data_needs_sides_that_read_different_data(
    tmp_path: Path, data: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    [stated] = rivals("more", data=data)
    [ruling] = judged([stated], report, monkeypatch)
    assert ruling.verdict == (UNDECIDED if data else REPRODUCED)
    assert all(reason.startswith("both sides read the same ") for reason in ruling.because)
    assert bool(ruling.because) == data


def test_amounts_are_ratios_of_the_first_side_and_small_differences_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    report = planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR))
    runs = report.tables["runs"].copy()
    times = (runs["architecture"] == "decoder").astype(float)
    runs["train_tokens"], runs["epochs"] = 1000 + 2000 * times, 1 + times
    [ruling] = judged(rivals("more"), Report({**report.tables, "runs": runs}), monkeypatch)
    found = sides.ratios(ruling.counted)
    assert found["training tokens"] == (3,)
    assert found[sides.DISTINCT] == (1.5,)
    assert "the first side has 3 times the training tokens" in sides.in_words(ruling.counted).replace(" and ", ", ")
    assert sides.are_equal([1.019, 0.981]) and not sides.are_equal([1.0, 1.021])


def test_tuning_names_the_sides_without_trials_and_those_that_never_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.6}
    [ruling] = judged(rivals("more"), planted(tmp_path, single(SENTIMENT, truth=truth, **CLEAR)), monkeypatch)

    def of(*tried: tuple[str, bool]) -> tuple[int, str]:
        return tuple(tuning.of([tuning.Tried("sentiment", *one) for one in tried], (), ruling.counted))

    assert of() == (0, "not tuned")
    assert of(("decoder", False)) == (0, "tuned; encoder on sentiment not tuned")
    assert of(("decoder", False), ("encoder", True)) == (1, "tuned; no trial of encoder on sentiment passes the gate")
    assert of(("decoder", False), ("encoder", True), ("encoder", False)) == (2, "tuned")
