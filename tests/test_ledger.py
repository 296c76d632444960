"""The ledger over several reports: the best evidence is chosen without its direction, and every claim stands once."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from itertools import permutations, product
from pathlib import Path

import pytest
import synthetic
from synthetic import SENTIMENT, SHAKESPEARE, Imagined, single

from archbench.reports.base import tables
from archbench.reports.claims import best_evidence
from archbench.reports.claims import ledger as ledgers
from archbench.reports.claims.best_evidence import DISAGREE, ClaimRecord, Evidence, record
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.claims.evidence import ClaimVerdict, Strength
from archbench.reports.claims.ledger import OPPOSITE, OUT_OF_REACH, REPRODUCED, SUPERSEDED, UNDECIDED, UNMET
from archbench.reports.page import ledger_page
from archbench.reports.report import Report

pytestmark = pytest.mark.usefixtures("any_rate_counts")

CLAIMS = {claim.name: claim for claim in ledgers.ledger()}
CLAIM = CLAIMS["encoder-understands"]
ENCODER = {"decoder": 0.5, "encoder": 0.7, "encoder-decoder": 0.5}
DECODER = {"decoder": 0.7, "encoder": 0.5, "encoder-decoder": 0.7}
BAGS = "tfidf_logistic"
NOBODY = {"decoder": 0.6, "encoder": 0.6, "encoder-decoder": 0.6}


def planted(root: Path, **reports: Imagined | Sequence[Imagined]) -> list[Evidence]:
    """What the reports with these data sets say of every claim."""
    entries = []
    for name, tasks in reports.items():
        synthetic.write_store(root / name, [tasks] if isinstance(tasks, Imagined) else list(tasks))
        judged = Report(tables.collect(root / name))
        entries += best_evidence.evidence(name, judged, claim_verdicts(judged))
    return entries


def sentiment(truth: dict[str, float], seeds: int = 5, tokens: float = 8.0) -> Imagined:
    return single(SENTIMENT, truth=truth, seeds=seeds, spread=0.004, examples=2000, tokens_per_parameter=tokens)


def of(entries: Sequence[Evidence], name: str = CLAIM.name) -> ClaimRecord:
    return next(claim_record for claim_record in best_evidence.records(entries) if claim_record.claim.name == name)


def entry(
    report: str,
    verdict: str = UNDECIDED,
    p: float = math.nan,
    lacks: tuple[str, ...] = (),
    seeds: int = 3,
    tokens: float = 1e6,
    tests: int = 2,
) -> Evidence:
    ruling = ClaimVerdict(CLAIM, verdict, "Found.", strength=Strength(lacks, seeds, tests), p=p)
    units = ("seeds", "parameters", "tokens per run")
    return Evidence(report, ruling, tokens, dict.fromkeys(units, f"{seeds}"))


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html))


def test_the_report_that_decides_is_the_best_evidence_where_it_has_more_seeds(tmp_path: Path) -> None:
    claim_record = of(planted(tmp_path, small=sentiment(NOBODY, seeds=3), large=sentiment(ENCODER)))
    assert claim_record.verdict == REPRODUCED
    assert [evidence.report for evidence in claim_record.tested] == ["large", "small"]
    assert [evidence.ruling.verdict for evidence in claim_record.tested] == [REPRODUCED, UNDECIDED]
    words = ledger_page.markdown([claim_record], "")
    assert "- **Best evidence, [large](large/):** reproduced; complete test, 5 seeds" in words
    assert re.search(r"\(small/\): undecided\. On sentiment, encoder vs\. decoder .+\. 3 instead of 5 seeds\.", words)
    assert re.search(r"On sentiment, encoder better than decoder by 0\.\d+ \(p\s<\s0\.001\)", words)


def test_a_report_with_weaker_evidence_decides_nothing(tmp_path: Path) -> None:
    claim_record = of(planted(tmp_path, small=sentiment(ENCODER, seeds=3), large=sentiment(NOBODY)))
    assert (claim_record.verdict, claim_record.tested[0].report) == (UNDECIDED, "large")
    words = ledger_page.markdown([claim_record], "")
    assert "0 of 1 claims are decided over all reports. 1 more is decided only by reports with weaker" in words
    assert re.search(
        r"- \[small\]\(small/\): reproduced \(p\s<\s0\.001, corrected for all reports\)\. 3 instead", words
    )


@pytest.mark.parametrize(
    ("small", "large"), [(ENCODER, NOBODY), (NOBODY, ENCODER), (ENCODER, DECODER)], ids=["small", "large", "both"]
)
def test_flipped_scores_choose_the_same_report(
    tmp_path: Path, small: dict[str, float], large: dict[str, float]
) -> None:
    def flipped(truth: dict[str, float]) -> dict[str, float]:
        return {name: 1.2 - score for name, score in truth.items()}

    straight = of(planted(tmp_path / "a", small=sentiment(small, seeds=3), large=sentiment(large, seeds=4)))
    mirrored = of(
        planted(tmp_path / "b", small=sentiment(flipped(small), seeds=3), large=sentiment(flipped(large), seeds=4))
    )
    other = {REPRODUCED: OPPOSITE, OPPOSITE: REPRODUCED}
    assert [evidence.rank for evidence in straight.tested] == [evidence.rank for evidence in mirrored.tested]
    assert (
        [evidence.report for evidence in straight.tested]
        == [evidence.report for evidence in mirrored.tested]
        == ["large", "small"]
    )
    assert mirrored.verdict == other.get(straight.verdict, straight.verdict)
    assert {evidence.ruling.verdict for evidence in straight.tested} & set(other)


def test_the_order_of_evidence_depends_on_no_verdict_and_on_no_order_of_reports() -> None:
    for verdicts in product((REPRODUCED, OPPOSITE, UNDECIDED), repeat=3):
        entries = [
            entry(name, verdict, 0.5 if verdict == UNDECIDED else 0.001)
            for name, verdict in zip(("a", "b", "c"), verdicts, strict=True)
        ]
        for order in permutations(entries):
            assert [evidence.report for evidence in record(CLAIM, order).tested] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (entry("z", seeds=2, tokens=1e5), entry("a", lacks=("not compared: x vs. y",), seeds=9, tokens=1e9, tests=9)),
        (entry("z", seeds=4, tokens=1e5), entry("a", seeds=3, tokens=1e9, tests=9)),
        (entry("z", tokens=2e6), entry("a", tokens=1e6, tests=9)),
        (entry("z", tests=3), entry("a", tests=2)),
        (entry("a"), entry("z")),
    ],
    ids=["complete", "seeds", "tokens", "tests", "name"],
)
def test_complete_tests_come_first_then_seeds_then_tokens(better: Evidence, worse: Evidence) -> None:
    assert record(CLAIM, [worse, better]).best == better == record(CLAIM, [better, worse]).best


def test_reports_of_opposite_directions_disagree_and_both_are_named(tmp_path: Path) -> None:
    claim_record = of(planted(tmp_path, first=sentiment(ENCODER), second=sentiment(DECODER, seeds=3)))
    assert claim_record.verdict == DISAGREE
    words = ledger_page.markdown([claim_record], "")
    assert "## Reports disagree" in words
    assert "[first](first/):** reproduced" in words and "[second](second/): opposite found (p" in words


@pytest.mark.parametrize(("others", "verdict"), [(0, REPRODUCED), (1, REPRODUCED), (2, UNDECIDED)])
def test_a_decision_is_corrected_for_every_report_that_tests_the_claim(others: int, verdict: str) -> None:
    tested = [entry("best", REPRODUCED, 0.02, seeds=9), *(entry(f"other-{place}") for place in range(others))]
    claim_record = record(CLAIM, [*tested, entry("elsewhere", UNMET)])
    assert claim_record.verdict == verdict
    assert claim_record.corrected[0] == pytest.approx(0.02 * (others + 1))
    words = ledger_page.markdown([claim_record], "")
    assert ("so it is not decided over all reports" in words) == (verdict == UNDECIDED)
    assert "Not tested by 1 other report:" in words


def test_a_report_with_another_verdict_says_which_architectures_differ_from_a_baseline(tmp_path: Path) -> None:
    better = replace(single(SENTIMENT, seeds=5), dataset="sst2", references=SENTIMENT.references | {BAGS: 0.45})
    mixed = replace(
        better, seeds=3, references=SENTIMENT.references | {BAGS: 0.55}, truth={"decoder": 0.8, "encoder": 0.4}
    )
    claim_record = of(planted(tmp_path, better=better, mixed=mixed), "order-beats-bags")
    assert [entry.ruling.verdict for entry in claim_record.tested] == [REPRODUCED, UNDECIDED]
    line = ledger_page.markdown([claim_record], "").partition("- [mixed](mixed/): ")[2]
    assert line.startswith("undecided. Compared with the TF-IDF + logistic regression: on sst2, decoder better and")
    assert "encoder worse. 3 instead of 5 seeds" in line


def test_where_no_gate_was_measured_the_test_is_not_complete(tmp_path: Path) -> None:
    gated = single(SHAKESPEARE, seeds=3)
    plain = replace(gated, seeds=5, references={"untrained": 6.1})
    claim_record = of(planted(tmp_path, plain=plain, gated=gated), "encoder-generates-poorly")
    assert [(evidence.report, bool(evidence.ruling.because)) for evidence in claim_record.tested] == [
        ("gated", False),
        ("plain", True),
    ]
    assert "no byte 5-gram was scored on shakespeare" in claim_record.tested[1].ruling.strength.lacks


def test_a_pair_that_is_missing_or_below_its_gate_makes_a_test_incomplete(tmp_path: Path) -> None:
    missing = sentiment({"decoder": 0.5, "encoder": 0.7}, seeds=5)
    below = sentiment({"decoder": 0.3, "encoder": 0.7, "encoder-decoder": 0.5}, seeds=4)  # majority: 0.39
    entries = planted(tmp_path, missing=missing, below=below, whole=sentiment(ENCODER, seeds=2))
    claim_record = of(entries)
    assert [evidence.report for evidence in claim_record.tested] == ["whole", "missing", "below"]
    assert claim_record.tested[1].ruling.strength.lacks == ("not compared: encoder vs. encoder-decoder",)
    assert claim_record.tested[2].ruling.strength.lacks == ("decoder is below its gate on sentiment",)


def test_a_claim_that_no_report_tests_says_what_it_needs(tmp_path: Path) -> None:
    claim_records = best_evidence.records(planted(tmp_path, one=sentiment(ENCODER)))
    by_name = {claim_record.claim.name: claim_record for claim_record in claim_records}
    untested = by_name["heads-in-parallel"]
    assert (untested.verdict, untested.best, untested.tested) == (UNMET, None, ())
    assert by_name["human-like"].verdict == OUT_OF_REACH
    assert by_name["no-labels"].verdict == SUPERSEDED
    words = ledger_page.markdown(claim_records, "")
    part = words[words.index("`heads-in-parallel`") :].partition("###")[0]
    assert "Needs data for generation and translation." in part
    assert "`archbench compare --preset ablation-heads`" in part


def test_every_claim_stands_once_and_under_its_verdict(tmp_path: Path) -> None:
    claim_records = best_evidence.records(planted(tmp_path, one=sentiment(ENCODER), two=single(SHAKESPEARE, seeds=5)))
    assert [claim_record.claim.name for claim_record in claim_records] == list(CLAIMS)
    words, page = ledger_page.markdown(claim_records, "0" * 64), ledger_page.page(claim_records, "archbench")
    counts = dict(re.findall(r"^\| (.+?) \| (\d+) \|$", words, re.MULTILINE))
    assert sum(map(int, counts.values())) == len(claim_records)
    for claim_record in claim_records:
        assert words.count(f"\n`{claim_record.claim.name}`. ") == 1
        assert page.count(f'<article id="{claim_record.claim.name}">') == 1
        title = ledger_page.TITLES[claim_record.verdict]
        assert f"`{claim_record.claim.name}`. " in words.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert int(counts[title]) == sum(other.verdict == claim_record.verdict for other in claim_records)


def test_markdown_and_page_say_the_same_and_link_to_the_reports(tmp_path: Path) -> None:
    claim_records = best_evidence.records(planted(tmp_path, one=sentiment(ENCODER), two=sentiment(DECODER, seeds=3)))
    words, page = ledger_page.markdown(claim_records, ""), ledger_page.page(claim_records, "archbench")
    lines = re.findall(r"^- (?:\*\*Best evidence, )?\[(\w+)\]\(\w+/\):(?:\*\*)? (.+)$", words, re.MULTILINE)
    assert len(lines) >= 2
    for report, text in lines:
        assert f'<a href="{report}/report/index.html#claims">{report}</a>' in page and text in text_of(page)


def test_a_command_comes_without_the_place_and_pace_of_its_runs() -> None:
    ruling = replace(entry("one").ruling, command="archbench compare x.toml --out /a/b --jobs 2 --seeds 9")
    words = ledger_page.markdown([record(CLAIM, [replace(entry("one"), ruling=ruling)])], "")
    assert "To decide it: `archbench compare x.toml --seeds 9`." in words


def test_the_first_table_lists_the_decided_claims_with_links_to_their_places(tmp_path: Path) -> None:
    records = best_evidence.records(planted(tmp_path, one=sentiment(ENCODER), two=single(SHAKESPEARE, seeds=5)))
    decided = [claim for claim in records if claim.verdict in best_evidence.DECIDED]
    words, page = ledger_page.markdown(records, ""), ledger_page.page(records, "archbench")
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| (.+?) \| (.+?) \| \[(\w+)\]", words, re.MULTILINE)
    assert len(rows) == len(decided) > 0
    for statement, anchor, reading, verdict, report in rows:
        (claim,) = (claim for claim in decided if claim.claim.statement == statement)
        assert claim.best is not None and report == claim.best.report
        assert reading == claim.claim.reading and claim.verdict.startswith(verdict)
        assert f'<a href="#{claim.claim.name}">' in page
        assert set(anchor) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") and anchor


def test_what_readings_and_verdicts_call_equal_is_equal_in_the_tables() -> None:
    """The ledger prints the amounts that both sides of a decided claim have within 2%, computed from the runs."""
    said = {
        "parameters outside embedding tables": r"equal parameters|at equal size",
        "training tokens": r"equal training tokens|as many training tokens|as many on both sides",
        "training FLOPs": r"equal training FLOPs",
    }
    ledger = (Path(__file__).parent.parent / "docs" / "reference" / "ledger.md").read_text(encoding="utf-8")
    sections = [section for section in ledger.split("\n### ") if "equal within 2%: " in section]
    assert sections
    for section in sections:
        reading = section.partition("Tested as: ")[2].partition("\n")[0]
        best = section.partition("**Best evidence")[2].partition("\n")[0]
        verdict = best.partition("; ")[0]
        equal = re.split(r", | and ", re.findall(r"equal within 2%: ([^.]*)\.", best)[0])
        for amount, words in said.items():
            if re.search(words, f"{reading} {verdict}"):
                assert amount in equal, section[:200]
