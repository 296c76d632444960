"""The page claims no more than the intervals allow, is closed to the outside, and stands on whatever there is."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import figure_stores
import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, single

from archbench import reports
from archbench.reports.base import tables
from archbench.reports.base.statistics import detectable
from archbench.reports.claims import ledger
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import minimum_detectable, phrase
from archbench.reports.contrasts.verdicts import verdict
from archbench.reports.contrasts.words import NOT_ABOVE_BASELINE, STANDINGS
from archbench.reports.figures.canvas.palette import COLOURS
from archbench.reports.page import assemble, page, printed, sections, summary
from archbench.reports.page.elements import matrix
from archbench.reports.page.elements.grids import Column
from archbench.reports.page.elements.parts import Figure, Note, Points, Section, Table, Terminal
from archbench.reports.page.sections import SECTIONS, checks
from archbench.reports.page.sections.scores import SCORES
from archbench.reports.page.sections.tests import PRIMARY as CONTRASTS
from archbench.reports.report import Report
from archbench.reports.results.comparisons import Comparisons


def built(root: Path) -> str:
    return reports.build(root)[0].read_text(encoding="utf-8")


def rendered(root: Path) -> str:
    """The page without its figures."""
    tables.write(tables.collect(root), root / "tables")
    return page.render(Report(tables.read(root / "tables")), [])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    synthetic.write_store(root)
    reports.build(root)
    return root


@pytest.fixture(scope="module")
def html(store: Path) -> str:
    return (store / "report" / "index.html").read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Collects the elements, identifiers and links of a page, and checks that elements are closed in order."""

    empty = frozenset({"meta", "br", "input", "path", "use"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.names: list[str] = []
        self.links: list[str] = []
        self.styled = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.elements.append(tag)
        self.names += [values["id"]] if values.get("id") else []
        self.links += [str(values[key]) for key in ("href", "src", "xlink:href") if values.get(key)]
        self.styled += "style" in values or any(key.startswith("on") for key in values)
        if tag not in self.empty:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.empty:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.empty:
            assert self.open.pop() == tag


def test_the_page_is_closed_to_scripts_styles_and_the_network(html: str) -> None:
    outline = Outline(html)
    assert not outline.open
    assert not {"script", "link", "img", "iframe", "form", "object"} & set(outline.elements)
    assert outline.styled == 0
    assert len(outline.names) == len(set(outline.names))
    assert all(
        link.startswith("#") or re.fullmatch(r"(\.\./tables/)?[a-z_]+\.(svg|png|pdf|csv|json|parquet)", link)
        for link in outline.links
    )
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.names)


def test_the_policy_allows_the_one_style_sheet_only(html: str) -> None:
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" in html
    assert "unsafe" not in html


def test_linked_files_exist(html: str, store: Path) -> None:
    for link in Outline(html).links:
        assert link.startswith("#") or (store / "report" / link).is_file()


def test_tables_alone_give_the_same_bytes_without_torch(store: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for path in (store / "tables").glob("*.parquet"):
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    code = (
        "import sys, pathlib\nfrom archbench import reports\n"
        "reports.build(pathlib.Path(sys.argv[1]))\n"
        "assert not {'torch', 'transformers', 'sklearn'} & set(sys.modules), 'a heavy package was imported'"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[1]
    )
    names = sorted(path.name for path in (store / "report").iterdir())
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == names
    for name in names:
        assert (tmp_path / "report" / name).read_bytes() == (store / "report" / name).read_bytes(), name


def test_every_part_of_the_report_is_there(html: str) -> None:
    of_other_reports = {"pretraining", "conditions", "effects", "scaling", "depth", "capacity", "shares", "failures"}
    of_other_reports |= {"writing", "order", "skills"}
    names = [section.name for section in SECTIONS if section.name not in of_other_reports]
    assert re.findall('<section id="([a-z-]+)"', html) == names
    assert "archbench compare imagined.toml --jobs 2" in html and "CC0-1.0" in html
    assert "✓ within 1%" in html and "0.55\N{MULTIPLICATION SIGN} decoder" in html


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_best_is_marked_only_where_the_intervals_allow(tmp_path: Path, gap: float) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.5, "encoder": 0.5 + gap}, examples=100, references={})
    synthetic.write_store(tmp_path, [task])
    judged = Report(tables.collect(tmp_path))
    [comparison] = judged.first
    assert [cell.best for cell in comparison.cells] == [False, gap > 0]
    outcome = verdict(comparison, judged.tested.primary_on(comparison))
    assert outcome.mark == ("decided" if gap else "not decided")
    assert judged.tested.primary[0].outcome == ("behind" if gap else "open")


def test_lower_is_better_where_it_is(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SHAKESPEARE])
    [comparison] = Comparisons(tables.collect(tmp_path)).headlines()
    assert comparison.leader == "decoder"
    assert comparison.differences and not comparison.open_rivals
    assert all(interval.mean > 0 for interval in comparison.differences.values())


def test_an_interval_that_ignores_examples_is_narrower(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SHAKESPEARE])
    [whole] = Comparisons(tables.collect(tmp_path)).headlines()
    for run in runs:
        (tmp_path / "runs" / run / "predictions.parquet").unlink()
    [bare] = Comparisons(tables.collect(tmp_path)).headlines()
    assert whole.resamples_examples
    assert not bare.resamples_examples
    assert whole.cells[0].interval.half_width > bare.cells[0].interval.half_width


def test_predictions_for_a_part_of_the_examples_are_no_ground_for_an_interval(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT])
    for run in runs:
        path = tmp_path / "runs" / run / "predictions.parquet"
        frame = pd.read_parquet(path)
        frame[frame["correct"]].to_parquet(path)
    [comparison] = Comparisons(tables.collect(tmp_path)).headlines()
    assert not comparison.resamples_examples


HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202egnp.exe\x00\x1b[31m",
    r"$\alpha^{$",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_stays_text(tmp_path: Path, text: str) -> None:
    runs = synthetic.write_store(tmp_path, [single(SENTIMENT, examples=20, seeds=2)])
    for run in runs:
        path = tmp_path / "runs" / run / "predictions.parquet"
        pd.read_parquet(path).assign(source=text, answer=text, reference=text).to_parquet(path)
        if "-decoder-s0" in run:
            synthetic.fail(tmp_path, run, error=text)
        synthetic.write_json(tmp_path / "runs" / run / "environment.json", {text: text})
        synthetic.change_record(tmp_path, run, dataset=text, task=text)
    data = json.loads((tmp_path / "data" / "sentiment.json").read_text())
    synthetic.write_json(
        tmp_path / "data" / "sentiment.json", data | {"dataset": text, "licence": text, "notes": {text: 1}}
    )
    experiment = json.loads((tmp_path / "experiment.json").read_text())
    synthetic.write_json(tmp_path / "experiment.json", experiment | {"name": text, "command": text})
    html = built(tmp_path) if text == HOSTILE[0] else rendered(tmp_path)
    outline = Outline(html)
    assert not {"script", "img"} & set(outline.elements)
    assert outline.styled == 0
    assert all(link.startswith("#") or ("." in link and "script" not in link) for link in outline.links)
    assert "49" not in html[: html.index("</h1>")].rsplit("<h1>", 1)[1]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", html)


def test_failed_diverged_and_missing_runs_are_told(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT])
    synthetic.fail(tmp_path, runs[0], error="RuntimeError: out of memory <at> step 7")
    synthetic.fail(tmp_path, runs[3], status="diverged", error="loss was nan at step 20")
    (tmp_path / "runs" / runs[6] / "record.json").unlink()
    html = rendered(tmp_path)
    assert "RuntimeError: out of memory &lt;at&gt; step 7" in html
    assert "loss was nan at step 20" in html
    assert "6 of 9 runs finished" in html
    assert "decoder (2 of 3), encoder (2 of 3) and encoder-decoder (2 of 3)" in html


@pytest.mark.parametrize(
    "task",
    [
        single(SENTIMENT, seeds=1),
        pytest.param(single(SENTIMENT, truth={"decoder": 0.5}), marks=pytest.mark.longer),
        single(SENTIMENT, truth={"decoder": 0.5}, seeds=1, references={}),
        single(PHRASES, truth={"decoder": 0.0, "encoder": 0.0}, spread=0.0, seeds=2),
        pytest.param(single(SHAKESPEARE, examples=1, seeds=2), marks=pytest.mark.longer),
        pytest.param(single(SENTIMENT, examples=12, seeds=11), marks=pytest.mark.longer),
    ],
    ids=["one seed", "one architecture", "one run", "nothing right", "one example", "many seeds"],
)
def test_little_to_compare_still_gives_a_page(tmp_path: Path, task: synthetic.Imagined) -> None:
    synthetic.write_store(tmp_path, [task])
    html = built(tmp_path)
    assert "nan" not in re.sub(r"<[^>]*>", " ", html[html.index("<body>") :]).split()
    if task.seeds == 1 or len(task.truth) == 1 or not any(task.truth.values()):
        assert 'class="card decided"' not in html


def test_nothing_finished_still_gives_a_page(tmp_path: Path) -> None:
    for run in synthetic.write_store(tmp_path, [SENTIMENT, PHRASES]):
        for path in (tmp_path / "runs" / run).iterdir():
            path.unlink()
    html = rendered(tmp_path)
    assert "No run has been recorded yet" in html
    printed_tables = summary.tables(Report(tables.read(tmp_path / "tables")))
    assert {name: table.rows for name, table in printed_tables.items()} == {"scores": [["architecture"]]}


def test_no_run_at_all_still_gives_a_page(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [])
    assert "Nothing to compare yet" in rendered(tmp_path)


@pytest.mark.parametrize("folder", ["data", "references"])
def test_without_data_cards_or_references_the_page_stands(tmp_path: Path, folder: str) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT])
    for path in (tmp_path / folder).iterdir():
        path.unlink()
    [comparison] = Comparisons(tables.collect(tmp_path)).headlines()
    assert comparison.metric.name == "accuracy"
    assert "sentiment" in rendered(tmp_path)


def test_several_budgets_are_compared_apart(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT], matches=("parameters", "flops"))
    html = built(tmp_path)
    assert "Does the outcome depend on the condition?" in html
    assert "equal training tokens and equal training FLOPs" in html
    assert (tmp_path / "report" / "headline_further.svg").is_file()
    assert html.count('class="card ') == 1


def test_a_missed_budget_is_marked(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT])
    synthetic.change_record(tmp_path, runs[0], parameters=260_000)
    html = rendered(tmp_path)
    assert "Budget missed by more than the tolerance: decoder on sentiment." in html
    assert "+4.0% ✗ beyond 1%" in html


def test_tokens_with_a_loss_are_checked_where_they_are_held_equal(tmp_path: Path) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT], matches=("loss-tokens",))
    for place, run in enumerate(runs):
        synthetic.change_record(
            tmp_path, run, target_loss_tokens=1_000_000, train_loss_tokens=1_000_000 + 40_000 * (not place)
        )
    html = rendered(tmp_path)
    assert "Budget missed by more than the tolerance: decoder on sentiment." in html
    assert "+4.0% ✗ beyond 1%" in html and "✓ within 1%" in html
    assert "equal size and equal tokens with a loss" in html


def test_the_terminal_table_agrees_with_the_page(store: Path, html: str) -> None:
    judged = Report(tables.read(store / "tables"))
    head, *rows = summary.tables(judged)["verdicts"].rows
    assert head[1:] == ["phrases-en-de", "sentiment", "shakespeare"]
    assert all(len(row) == len(head) for row in rows)
    for row in rows:
        for cell in row:
            for part in cell.removesuffix(")").split(" ("):
                assert part in html
    phrases, sentiment, shakespeare, limits = summary.sentences(judged)
    assert phrases.startswith("Translate phrases-en-de: encoder-decoder 73%\N{NO-BREAK SPACE}exact match (wins)")
    assert "baseline" not in phrases
    assert "None is better than a simple baseline (TF-IDF + logistic regression, 0.630)" in sentiment
    assert "(not decided)" in sentiment and shakespeare.startswith("Continue shakespeare: decoder 2.")
    assert "Early training: sentiment (3.1" in limits


def test_the_number_of_test_examples_stands_by_every_score(html: str) -> None:
    scores, metrics = html[html.index('id="scores"') :], html[html.index('id="metrics"') : html.index('id="budget"')]
    for n in (400, 500, 120):
        assert f", n = {n}</small>" in scores[: scores.index("</table>")]
        assert f"is better, n = {n}</small>" in metrics


def test_an_encoder_without_a_source_is_said_to_idle(tmp_path: Path, html: str) -> None:
    synthetic.write_store(tmp_path, [SHAKESPEARE])
    path = tmp_path / "data" / "shakespeare.json"
    synthetic.write_json(path, json.loads(path.read_text()) | {"source_length": 0})
    assert "No source: the encoder of encoder-decoder has no input" in rendered(tmp_path)
    assert "has no input" not in html


def test_signatures_stand_in_the_environment_and_beside_the_metrics(tmp_path: Path) -> None:
    signed = {"bleu_signature": "nrefs:1|tok:13a", "chrf_signature": "nrefs:1|nc:6"}
    for run in synthetic.write_store(tmp_path, [PHRASES]):
        synthetic.write_json(tmp_path / "runs" / run / "environment.json", signed)
    html = rendered(tmp_path)
    for signature in signed.values():
        assert f"signature {signature}." in html[html.index('id="reading"') :]
        assert signature in html[html.index('id="reproduce"') : html.index('id="reading"')]


def test_the_detectable_difference_is_that_to_the_nearest(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.5, "encoder": 0.6, "encoder-decoder": 0.601}, references={})
    synthetic.write_store(tmp_path, [task])
    [comparison] = Comparisons(tables.collect(tmp_path)).headlines()
    assert {comparison.leader, comparison.nearest} == {"encoder", "encoder-decoder"}
    assert comparison.detectable(comparison.leader) == detectable(comparison.differences[comparison.nearest])
    assert f"between {comparison.leader} and {comparison.nearest}: " in " ".join(verdict(comparison).notes)


def test_dark_mode_knows_every_colour() -> None:
    style = (page.TEMPLATES / "style.css").read_text()
    dark = style[style.rindex("prefers-color-scheme: dark") :]
    for colour in set(COLOURS.values()) - {COLOURS["orange"], COLOURS["purple"]}:  # bright enough on either
        assert f'[fill="{colour}"]' in dark
        assert f'[stroke="{colour}"]' in dark


def test_a_folder_without_records_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no experiment here"):
        reports.build(tmp_path)


@pytest.mark.slow
def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    assert len(synthetic.write_store(tmp_path, [single(task, seeds=100) for task in synthetic.TASKS])) == 1000
    started = time.perf_counter()
    reports.build(tmp_path)
    assert time.perf_counter() - started < 20


def test_the_synthetic_store_gives_the_scores_its_predictions_give(store: Path) -> None:
    frames = tables.read(store / "tables")
    rows = frames["predictions"].groupby("run")["correct"].mean().dropna()
    scores = frames["scores"][frames["scores"]["metric"].isin(["accuracy", "exact_match"])].set_index("run")["value"]
    assert np.allclose(rows[scores.index].astype(float), scores)


def test_what_the_page_says_of_contrasts_stands_in_their_table(store: Path, html: str) -> None:
    rows = pd.read_csv(store / "report" / "contrasts.csv")
    primary = rows[rows["role"] == "primary"]
    part = html[html.index('id="tests"') : html.index('id="claims"')]
    cells = re.findall(r'<tr><th scope="row".*?</tr>', part[: part.index("</tbody>")], re.DOTALL)
    assert len(cells) == len(primary) == 9
    for cell, (_, row) in zip(cells, primary.iterrows(), strict=True):
        columns = [re.sub("<[^>]*>", " ", text).split() for text in re.findall(r"<td.*?</td>", cell, re.DOTALL)]
        assert float(columns[1][0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(row["difference"], abs=0.051)
        assert columns[5][0] == f"{row['detectable']:.{len(columns[5][0].partition('.')[2])}f}"
        assert int(columns[6][0]) == row["seeds"]


def test_scores_on_the_page_are_means_of_rows_of_the_tables(store: Path, html: str) -> None:
    frames = tables.read(store / "tables")
    runs = frames["runs"][["run", "architecture", "dataset"]]
    scores = frames["scores"].merge(runs, on="run")
    scores = scores[scores["split"] == "test"]
    part = html[html.index('id="scores"') : html.index('id="tests"')]
    for dataset, metric in (
        ("phrases-en-de", "exact_match"),
        ("sentiment", "accuracy"),
        ("shakespeare", "bits_per_byte"),
    ):
        selected = scores[(scores["dataset"] == dataset) & (scores["metric"] == metric)]
        for mean in selected.groupby("architecture")["value"].mean():
            assert any(f"{mean:.{places}f}" in part for places in (2, 3)), (dataset, mean)


def test_translations_that_are_judged_by_bits_show_whole_answers_beside(tmp_path: Path) -> None:
    bits = replace(
        PHRASES, primary="bits_per_byte", truth={"decoder": 1.4, "encoder-decoder": 1.1}, seeds=2, examples=20
    )
    synthetic.write_store(tmp_path, [bits])
    judgement = Report(tables.collect(tmp_path))
    grid = SCORES.grid(judgement)
    head, first = grid.head, grid.rows[0]
    assert [entry.text for entry in head] == ["architecture", "phrases-en-de", "phrases-en-de"]
    assert "bits per byte" in head[1].below and "chrF" in head[2].below
    assert len(first) == 3 and all(cell.text for cell in first)


def test_a_report_of_the_same_tables_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = synthetic.write_store(tmp_path, [SENTIMENT])
    first, _ = assemble.report(tmp_path, anew=False)
    written_folders: list[Path] = []
    write = page.write
    monkeypatch.setattr(page, "write", lambda judged, folder: written_folders.append(folder) or write(judged, folder))
    again, _ = assemble.report(tmp_path, anew=False)
    assert sorted(again) == sorted(first)
    assert written_folders == []
    (tmp_path / "report" / "headline.svg").unlink()
    assemble.report(tmp_path, anew=False)
    assert len(written_folders) == 1
    synthetic.fail(tmp_path, runs[0])
    assemble.report(tmp_path, anew=False)
    assert len(written_folders) == 2
    (tmp_path / "report" / ".made.json").write_text("{")
    assemble.report(tmp_path, anew=False)
    assert len(written_folders) == 3
    assemble.report(tmp_path)
    assert len(written_folders) == 4


# The first screen.


def test_the_matrix_marks_where_a_baseline_is_not_beaten(store: Path, html: str) -> None:
    judged = Report(tables.read(store / "tables"))
    grid = matrix.matrix(judged)
    datasets = [cell.text for cell in grid.head[1:]]
    assert datasets == ["phrases-en-de", "sentiment", "shakespeare"]
    for row in grid.rows[:-1]:
        for comparison, cell in zip(judged.first, row[1:], strict=True):
            scored_cell = next(
                scored_cell for scored_cell in comparison.cells if scored_cell.architecture == row[0].text
            )
            best = comparison.best_simple_baseline
            assert best
            ends = [
                comparison.metric.gain(end - best[1])
                for end in (scored_cell.interval.lower, scored_cell.interval.upper)
            ]
            assert (NOT_ABOVE_BASELINE in cell.text) == (min(ends) <= 0)
            assert cell.kind.split()[1] in STANDINGS
    top = html[: html.index('id="outcome"')]
    assert top.count("<table") == 1 and 'id="figure-in_short"' in top
    assert all(f"<bdi>{dataset}</bdi>" in top[: top.index("<figure")] for dataset in datasets)
    for word in ("wins", "loses", "not decided"):
        assert f">{word}" in top


def test_a_detectable_difference_is_the_same_in_table_and_sentence(store: Path, html: str) -> None:
    part = html[html.index('id="tests"') :]
    for contrast in Report(tables.read(store / "tables")).tested.primary:
        assert f">{minimum_detectable(contrast)}<" in part
        if contrast.outcome == "open":
            assert f"difference: {minimum_detectable(contrast)} (80% power)" in phrase(contrast, "sentence")


def test_pairs_that_the_experiment_does_not_list_are_not_said_to_be_listed(tmp_path: Path, html: str) -> None:
    assert "The experiment lists these pairs." in html
    synthetic.write_store(tmp_path, [single(SENTIMENT, truth={"gpt2": 0.5, "llama": 0.6})])
    other = rendered(tmp_path)
    assert "The experiment lists no pair of these architectures" in other
    assert "The experiment lists these pairs" not in other


def test_version_and_commit_stand_at_the_top(tmp_path: Path) -> None:
    for run in synthetic.write_store(tmp_path, [SENTIMENT]):
        synthetic.write_json(tmp_path / "runs" / run / "environment.json", {"archbench_commit": "0123456789abcdef"})
    html = rendered(tmp_path)
    assert "commit 0123456789ab" in html[: html.index('id="bottom-line"')]


def test_another_translation_than_the_reference_is_not_called_wrong(html: str) -> None:
    answers = html[html.index('id="answers"') : html.index('id="metrics"')]
    parts = {part[: part.index("</bdi>")]: part for part in answers.split("<h3><bdi>")[1:]}
    assert "wrong" not in parts["phrases-en-de"] and "chrF " in parts["phrases-en-de"]
    assert "✗ wrong" in parts["sentiment"] or "✓ right" in parts["sentiment"]


def test_what_the_page_leaves_out_stands_in_its_tables(store: Path) -> None:
    judged = Report(tables.read(store / "tables"))
    scores = pd.read_csv(store / "report" / "scores.csv", keep_default_na=False, na_values={"mean": ""})
    for comparison in judged.first:
        for cell in comparison.scored:
            row = scores[(scores["dataset"] == comparison.group.dataset) & (scores["name"] == cell.architecture)]
            row = row[(row["metric"] == comparison.metric.name) & (row["condition"] == "")]
            assert row["mean"].tolist() == pytest.approx([cell.interval.mean])
    budget = pd.read_csv(store / "report" / "budget.csv")
    runs = tables.read(store / "tables")["runs"]
    assert budget["parameters_most"].max() == runs["parameters"].max()
    assert set(pd.read_csv(store / "report" / "claims.csv")["claim"]) == {claim.name for claim in ledger.ledger()}


@pytest.mark.slow
def test_the_reference_page_is_read_in_an_hour() -> None:
    text = page.render(Report(tables.read(Path(__file__).parents[1] / "docs/reference/public/tables")), [])
    body = text[text.index("<body>") :]
    assert len(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", body, flags=re.DOTALL).split()) < 15_000


def test_every_family_of_tests_has_words_of_its_own() -> None:
    judged = figure_stores.judged("families")
    tested = [role for role, _ in checks.roles(judged) if not role.startswith(("exploratory", "claim "))]
    words = checks.words_of_roles(judged)
    assert "control" in tested and len({words[role] for role in tested}) == len(tested)


def test_a_section_is_one_entry_that_page_paper_and_terminal_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a section that a report has nothing for is left out, with its notes and its place in the navigation."""
    judged = figure_stores.judged("families")
    names = Table[str](
        "names",
        "Names of data sets",
        lambda report: [comparison.group.dataset for comparison in report.first],
        (Column("data set", lambda name: name, text=True), Column("letters", lambda name: str(len(name)))),
        holds="the names of the data sets",
        terminal=Terminal(0, lambda report: "Names:", most=1),
    )
    section = Section("A new section", name="new", short="New", show=(Note("How long they are."), names))
    empty = Section("Left out", name="left-out", short="Left out", show=(Note("Nothing."), Points(lambda report: {})))
    monkeypatch.setattr(page, "SECTIONS", (*SECTIONS, section, empty))
    monkeypatch.setattr(printed, "TABLES", sections.printed(page.SECTIONS))
    html = page.render(judged, [])
    assert '<section id="new"' in html and '<a href="#new">New</a>' in html and "How long they are." in html
    assert "left-out" not in html and "Nothing." not in html
    name = judged.first[0].group.dataset
    assert f"{name} & {len(name)}" in printed.printed(printed.table(judged, "names"), "latex")
    assert ["names", "the names of the data sets"] in printed.listing(judged)
    on_terminal = summary.tables(judged, page.SECTIONS)
    assert [*on_terminal] == ["names", "verdicts"]
    assert on_terminal["names"] == ("Names:", [["data set", "letters"], [name, str(len(name))]], len(judged.first))


def test_a_column_is_one_entry_that_page_paper_and_csv_read(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = figure_stores.judged("families")
    assert isinstance(CONTRASTS.columns, tuple)
    column = Column[Contrast]("sign", lambda contrast: "plus" if contrast.difference.mean > 0 else "not plus")
    with_column = replace(CONTRASTS, columns=(*CONTRASTS.columns, column))
    monkeypatch.setattr(page, "SECTIONS", (Section("Tests", name="tests", short="Tests", show=(with_column,)),))
    monkeypatch.setattr(printed, "TABLES", sections.printed(page.SECTIONS))
    assert "<th>sign</th>" in page.render(judged, []).replace(' scope="col"', "")
    texts = {form: printed.printed(printed.table(judged, "contrasts"), form) for form in ("latex", "csv", "markdown")}
    assert all("sign" in text and "plus" in text for text in texts.values())


def test_a_figure_stands_in_one_place() -> None:
    """The figures of the first screen do not come again in their sections."""
    shown = page.Page(figure_stores.judged("families"), {"summary", "headline"})
    figure = Figure(lambda report: ("none", "summary"))
    assert [figure.content(shown), figure.content(shown), Figure("headline").content(shown)] == [
        "summary",
        "",
        "headline",
    ]
