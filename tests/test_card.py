"""The card of an exported run shows what users' data says as it is, little of it, and only what is about this run."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from tiny_runs import trained, write_data

from archbench.runs.export import card, facts
from archbench.runs.export.facts import Facts
from archbench.runs.export.markdown import escaped, table
from archbench.runs.scoring import finished
from archbench.runs.store import store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

NASTY = [
    "<script>alert(1)</script>",
    "`code`",
    "``",
    "|",
    "\\|",
    "\\\\|",
    "ends with \\",
    "two\nlines\r\n\n# and a head",
    "&lt;b&gt; &#60; &amp;",
    "[x](javascript:alert(1))",
    "![x](y)",
    "*loud* __init__ _soft_ a_b ~~gone~~",
    "<!--",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of labels."""
    root = tmp_path_factory.mktemp("root")
    return trained(write_data(root), root, "decoder", "colours")


@pytest.fixture(autouse=True)
def as_it_was(place: Path) -> Any:
    """What a test changed beside the run is put back."""
    root = place.parent.parent
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    yield
    for path in {*root.rglob("*")} - before.keys():
        if path.is_file():
            path.unlink()
    for path, data in before.items():
        path.write_bytes(data)


def read(place: Path) -> Facts:
    """The facts about a run, whose files now count as what it left."""
    store.write_record(place, store.read_record(place) or {})
    return facts.read(place, finished.read(place), "ArchbenchForCausalLM", False, False, 9)


def rendered(markdown: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)


@pytest.mark.parametrize("text", NASTY)
def test_any_text_comes_out_of_markdown_as_it_went_in(text: str) -> None:
    expected = html.escape(" ".join(text.split()), quote=False)
    assert rendered(f"It is {escaped(text)}.") == f"<p>It is {expected}.</p>\n"
    cells = re.findall("<td>(.*?)</td>", rendered(table(("a", "b"), [(text, "next"), ("last", text)])))
    assert cells == [expected, "next", "last", expected]


@pytest.mark.parametrize("text", NASTY)
def test_a_card_shows_users_text_as_it_is(place: Path, text: str) -> None:
    path = place.parent.parent / "data" / "colours.json"
    row = sealed.read_json(path)
    sealed.write_json(path, {**row, "dataset": text, "origin": text, "licence": text, "primary": text})
    rows = [{"name": text, "metric": text, "value": 0.5, "data": row["digest"]}]
    sealed.write_json(place.parent.parent / "references" / "colours.json", rows)
    pd.DataFrame({"source": [text], "reference": [text]}).to_parquet(place / "predictions.parquet")
    facts = read(place)
    card_html, expected = rendered(card.text(facts)), html.escape(" ".join(text.split()), quote=False)
    assert card_html.count(f"<td>{expected}</td>") == 3
    assert f"training examples ({expected})." in card_html and f"{expected}: {expected} 0.5." in card_html
    assert f"text = {text!r}\n" in html.unescape(card_html), "code has the text itself"
    assert "<script" not in card_html and "<img" not in card_html and "<a " not in card_html


def test_baselines_stand_for_each_primary_measure(place: Path) -> None:
    path = place.parent.parent / "data" / "colours.json"
    sealed.write_json(path, {**sealed.read_json(path), "primary": "accuracy, macro_f1"})
    rows = [{"name": f"best in {metric}", "metric": metric, "value": 1.0} for metric in ("accuracy", "macro_f1")]
    rows = [{**row, "data": read(place).data["digest"]} for row in rows]
    sealed.write_json(place.parent.parent / "references" / "colours.json", rows)
    text = card.text(read(place)).replace("\\", "")
    for metric in ("accuracy", "macro_f1"):
        assert f"Baselines on the same examples, {metric}: best in {metric} 1." in text
        assert f"Baselines that are as good or better on {metric}: best in {metric} (1)." in text


def test_little_of_the_test_split_is_shown(place: Path) -> None:
    pd.DataFrame({"source": ["äß" * 500], "reference": ["red"]}).to_parquet(place / "predictions.parquet")
    facts = read(place)
    for text in (card.text(facts), card.usage(facts)):
        assert "äß" * 50 in text and "äß" * 51 not in text


@pytest.mark.parametrize("name", facts.DATA)
def test_a_data_row_that_lacks_something_says_nothing(place: Path, name: str) -> None:
    path = place.parent.parent / "data" / "colours.json"
    row = sealed.read_json(path)
    assert "| licence of the data |" in card.text(read(place))
    for wrong in ({key: value for key, value in row.items() if key != name}, {**row, name: None}):
        sealed.write_json(path, wrong)
        assert "recorded in the folder of the comparison, not with this run" in card.text(read(place))


def test_rows_that_lack_something_are_left_out(place: Path) -> None:
    root, scores = place.parent.parent, sealed.read_json(place / "scores.json")
    sealed.write_json(place / "scores.json", [{"split": "test", "metric": "x"}, "row", *scores])
    sealed.write_json(
        root / "references" / "colours.json", [{"metric": "accuracy", "data": read(place).data["digest"]}]
    )
    facts = read(place)
    assert facts.scores == [row for row in scores if row["split"] == "test"] and facts.baselines == []
    assert card.text(facts)


def test_no_interval_of_a_score_has_no_width(place: Path) -> None:
    def row(metric: str, value: float, spread: float = 0.0) -> dict[str, Any]:
        return {"metric": metric, "value": value, "lower": value - spread, "upper": value + spread, "n": 50}

    scores = [row("accuracy", 0.0), row("exact_match", 1.0), row("bleu", 0.0), row("chrf", 20.0, 1.0)]
    text = card.text(replace(read(place), scores=scores))
    assert "| accuracy | 0 | 0 to 0.07135 | 50 |" in text
    assert "| exact_match | 1 | 0.9287 to 1 | 50 |" in text
    assert "| bleu | 0 | none | 50 |" in text and "| chrf | 20 | 19 to 21 | 50 |" in text
    assert "Wilson" in text and "Wilson" not in card.text(replace(read(place), scores=scores[3:]))


def test_a_finetuned_run_says_what_it_was_pretrained_on(place: Path) -> None:
    facts = read(place)
    plan = replace(facts.run.plan, start="text-decoder-s0-0", start_name="text", pretraining_tokens=5e3, examples=20)
    text = card.text(replace(facts, run=replace(facts.run, plan=plan)))
    assert "pretrained on text and finetuned by archbench" in text and "random weights" not in text
    assert "text: 5,000 tokens" in text and "finetuned only on 20 training examples" in text
    for plan in (
        replace(facts.run.plan, objective={"causal": 1.0}),
        replace(facts.run.plan, training=facts.run.plan.training.patched({"keep": "last"})),
    ):
        assert "| the last one, step" in card.text(replace(facts, run=replace(facts.run, plan=plan)))
    assert "random weights" in card.text(facts) and "the best on the validation split" in card.text(facts)


def test_a_record_that_lacks_something_is_one_line(place: Path) -> None:
    record = store.read_record(place) or {}
    store.write_record(place, {key: value for key, value in record.items() if key != "steps"})
    with pytest.raises(InputError, match=r"record\.json: has no steps; run its compare command again"):
        read(place)


def test_another_comparison_says_nothing(place: Path) -> None:
    path = place.parent.parent / "experiment.json"
    for runs, version in [([place.name], "9.8"), (["another"], ""), (None, "")]:
        sealed.write_json(path, {"archbench": "9.8", "runs": runs})
        facts = read(place)
        assert facts.version == version and ("archbench 9.8" in card.text(facts)) == bool(version)
