"""Stored bits: the formula on likelihoods made by hand, a comparison end to end, its figure and its sentences."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import archbench
from archbench.reports.base import tables as report_tables
from archbench.reports.base.statistics import Interval
from archbench.reports.claims.claims import UNTESTED, claim_verdicts
from archbench.reports.claims.ledger import UNDECIDED
from archbench.reports.figures.kinds import capacity
from archbench.reports.page import publish
from archbench.reports.readings import stored_bits
from archbench.reports.readings.stored_bits import Stored
from archbench.reports.report import Report
from archbench.tasks.builtin_data import random_strings
from archbench.tasks.kinds.memorization import stored

NATS = math.log(2) * random_strings.BITS  # of a string that is not known at all
EXPERIMENT = """
name = "memory"
architectures = ["decoder", "encoder", "encoder-decoder"]
seeds = [0, 1]
supervision = "target"
[budget]
parameters = 20_000
tokens = 6_000
[model]
width = 32
[training]
batch_tokens = 600
learning_rate = 0.01
precision = "float32"
[[tasks]]
data = "random-strings:30"
test_examples = 12
[[conditions]]
architectures = ["decoder"]
budget = { parameters = 24_000 }
"""


# The formula.


def test_characters_at_random_store_nothing_and_strings_by_heart_all_of_their_bits() -> None:
    nothing, everything = (stored(np.full(50, nats), 1000, random_strings.BITS) for nats in (NATS, 0.0))
    assert nothing.value == pytest.approx(0, abs=1e-9) and nothing.n == 50
    assert everything.value == 1000 * random_strings.LENGTH * math.log2(len(random_strings.ALPHABET))
    assert (everything.lower, everything.upper) == (everything.value, everything.value)


def test_half_of_the_strings_is_half_of_the_bits_with_an_interval() -> None:
    score = stored(np.array([0.0, NATS] * 100), 400, random_strings.BITS)
    assert score.value == pytest.approx(200 * random_strings.BITS)
    assert score.lower < score.value < score.upper
    assert np.mean(score.per_example) == pytest.approx(score.value)
    assert score.upper - score.lower == pytest.approx(2 * 1.96 * 16_000 / math.sqrt(200), rel=0.15)


def test_probability_for_what_no_string_is_costs_more_than_nothing_stores() -> None:
    tokens = len(random_strings.ALPHABET) + 2  # END and what stands for an unknown character
    untrained = np.full(20, (random_strings.LENGTH + 1) * math.log(tokens))
    assert stored(untrained, 10, random_strings.BITS).value < 0
    assert stored(np.array([0.0, math.inf]), 10, random_strings.BITS).value == -math.inf


# From data to page.


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    (folder / "memory.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ARCHBENCH_CACHE", str(folder / "cache"))
        archbench.compare(str(folder / "memory.toml"), out=folder / "out", jobs=1)
    return folder / "out"


def read(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / "tables" / f"{name}.parquet")


def test_every_family_is_scored_and_stores_no_more_than_there_is(compared: Path) -> None:
    runs, scores = read(compared, "runs"), read(compared, "scores")
    assert set(runs["family"]) == {"decoder", "encoder", "encoder-decoder"} and set(runs["status"]) == {"done"}
    assert set(runs["task"]) == {"memorization"}
    rows = scores[scores["metric"] == "stored_bits"]
    assert set(rows["run"]) == set(runs["run"]) and (rows["value"] <= 30 * random_strings.BITS).all()
    assert (rows["lower"] <= rows["value"]).all() and (rows["value"] <= rows["upper"]).all()
    assert set(scores.loc[scores["split"] == "test", "metric"]) >= {"exact_match", "bits_per_byte", "nll_per_token"}


def test_stored_bits_follow_from_the_recorded_likelihoods(compared: Path) -> None:
    scores, predictions = read(compared, "scores"), read(compared, "predictions")
    bits_by_run = scores[(scores["split"] == "test") & (scores["metric"] == "stored_bits")].set_index("run")["value"]
    for run, rows in predictions.groupby("run"):
        bits = rows["log_likelihood"].mean() / math.log(2)
        assert bits_by_run[run] == pytest.approx(30 * (random_strings.BITS + bits))
        assert bits_by_run[run] == pytest.approx(rows["stored_bits"].mean())


def test_only_the_untrained_model_stands_beside_and_its_bits_are_below_nothing(compared: Path) -> None:
    rows = read(compared, "references").query("split == 'test'")
    assert set(rows["name"]) == {"untrained"}
    assert rows.set_index("metric")["value"]["stored_bits"] < 0


def test_the_figure_has_the_numbers_of_the_tables(compared: Path) -> None:
    numbers = pd.read_csv(compared / "report" / "capacity.csv")
    assert (compared / "report" / "capacity.svg").is_file() and (compared / "report" / "capacity.png").is_file()
    assert list(zip(numbers["architecture"], numbers["parameters"] > 22_000, strict=True)) == [
        ("decoder", False),
        ("decoder", True),
        ("encoder", False),
        ("encoder-decoder", False),
    ]
    runs = read(compared, "runs")
    scores = read(compared, "scores")
    scores = scores[(scores["split"] == "test") & (scores["metric"] == "stored_bits")].merge(runs, on="run")
    means = scores.groupby(["architecture", "parameters", "embedding_parameters"])["value"].mean()
    for _, row in numbers.iterrows():
        mean = means[row["architecture"], row["parameters"], row["embedding_parameters"]]
        size = row["parameters"] + row["embedding_parameters"]
        assert row["stored_bits"] == pytest.approx(mean)
        assert row["bits_per_parameter"] == pytest.approx(mean / size)
        assert row["lower"] < mean < row["upper"] and row["seeds"] == 2
        assert row["bits_in_all_strings"] == 30 * random_strings.BITS and not row["exhausted"]
    notes = json.loads(read(compared, "datasets")["notes"].item())
    assert notes["bits_in_all_strings"] == 2400 and notes["test_strings_seen_in_train_by_design"] == 30


def test_the_page_says_what_is_stored_and_that_nothing_is_held_out(compared: Path) -> None:
    page = (compared / "report" / "index.html").read_text()
    assert "What a parameter stores" in page and 'id="figure-capacity"' in page
    assert "deliberately use the same random strings" in page and "seen in train by design: 30" in page
    assert "Each parameter stores one piece of information" in page
    sentences = stored_bits.sentences(stored_bits.stored(Report(report_tables.read(compared / "tables"))))
    assert len(sentences) == 4 and "less than one bit at every size" in sentences[-1]


def test_a_published_report_says_the_same(compared: Path, tmp_path: Path) -> None:
    publish.publish(compared, tmp_path / "public")
    original, published = (root / "report" / "capacity.csv" for root in (compared, tmp_path / "public"))
    assert original.read_bytes() == published.read_bytes()


# What is said of it.


def point(architecture: str, interval: Interval, **changes: object) -> Stored:
    size = 10_000
    bits = Interval(*(size * end for end in (interval.mean, interval.lower, interval.upper)))
    values = dict(dataset="s", condition="", parameters=9_000, embedding_parameters=1_000, strings=80_000.0, passes=70)
    return Stored(architecture=architecture, bits=bits, seeds=2, **(values | changes))  # type: ignore[arg-type]


ABOVE, BELOW, OPEN, LONE = (Interval(*ends) for ends in ((1.5, 1.4, 1.6), (0.5, 0.4, 0.6), (1.0, 0.8, 1.2), (3.0,)))


@pytest.mark.parametrize(
    ("points", "phrase"),
    [
        ([ABOVE, ABOVE], "taken as one bit: at least one bit at every size in every architecture."),
        ([BELOW, BELOW], "less than one bit at every size in every architecture; more training may"),
        ([ABOVE, BELOW, OPEN], "at least one bit: a of 10,000; less than one bit: b of 10,000; not decided: c of"),
        ([LONE], "not decided at every size"),
    ],
)
def test_a_piece_of_information_is_a_bit_where_the_interval_says_so(points: list[Interval], phrase: str) -> None:
    measurements = [point(name, interval) for name, interval in zip("abc", points, strict=False)]
    assert phrase in stored_bits.sentences(measurements)[-1]


def test_where_the_strings_ran_out_a_model_stores_at_least_that() -> None:
    full, part = point("a", ABOVE, strings=16_000.0), point("a", ABOVE)
    assert point("a", BELOW, strings=5_100.0).word == "open" and point("a", BELOW).word == "below"
    assert full.exhausted and not part.exhausted and not point("a", ABOVE, strings=math.nan).exhausted
    sentence = stored_bits.sentences([full, part])[0]
    assert "at least 1.50 bits per parameter at 10,000 parameters" in sentence and "94% of all bits" in sentence
    assert "(95% interval 1.40 to 1.60)" in sentence and sentence.endswith("(70.0 epochs).")


def test_nothing_is_said_and_drawn_where_memory_was_not_measured() -> None:
    assert stored_bits.sentences([]) == [] and capacity.numbers([]) == []


# What the ledger makes of it.


def test_the_ledger_judges_the_saying_by_what_was_stored(compared: Path) -> None:
    judged = Report(report_tables.read(compared / "tables"))
    ruling = {ruling.claim.name: ruling for ruling in claim_verdicts(judged)}["one-piece-each"]
    assert {measurement.word for measurement in stored_bits.stored(judged)} == {"below"}
    assert ruling.verdict == UNDECIDED  # a lower bound refutes nothing
    assert "more training may store more" in ruling.evidence


def test_the_ledger_judges_whether_size_remembers_more_by_every_family_with_two_sizes(compared: Path) -> None:
    judged = Report(report_tables.read(compared / "tables"))
    ruling = {ruling.claim.name: ruling for ruling in claim_verdicts(judged)}["more-memory"]
    sizes = [f"decoder with {size} parameters" for size in ("24,000", "20,000")]
    assert [[contrast.first, contrast.second] for contrast in ruling.contrasts] == [sizes]
    assert [contrast.metric.name for contrast in ruling.contrasts] == ["stored_bits"] and ruling.verdict not in UNTESTED
