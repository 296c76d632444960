"""Published scores name data and metrics that archbench has, and stand beside a report's own without changing it."""

from pathlib import Path

import pytest
import synthetic

from archbench.reports.base import tables
from archbench.reports.page.sections.scores import PUBLISHED, rows
from archbench.reports.report import Report
from archbench.tasks.builtin_data import builtin, published
from archbench.tasks.metrics.builtin import BUILTIN

ROW = {"metric": "accuracy", "value": "0.9", "model": "an SVM", "parameters": "1200", "source": "a paper", "note": ""}


def test_rows_are_of_known_data_sets_and_metrics_and_in_range() -> None:
    for row in published._all():
        metric = BUILTIN[row["metric"]]
        assert builtin.find(row["dataset"]).name == row["dataset"] and row["model"] and row["source"]
        assert metric.least <= float(row["value"]) <= metric.most
        assert not row["parameters"] or int(row["parameters"]) > 0
    keys = [(row["dataset"], row["metric"], row["model"], row["source"]) for row in published._all()]
    assert len({*keys}) == len(keys)


def test_they_stand_beside_the_best_and_change_no_other_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write_store(tmp_path, [synthetic.single(synthetic.SENTIMENT, seeds=2)])
    plain = Report(tables.collect(tmp_path))
    given = {"dataset": synthetic.SENTIMENT.dataset, **ROW}
    monkeypatch.setattr(published, "_all", lambda: (given,))
    report = Report(tables.collect(tmp_path))
    ((dataset, metric, value, model, here),) = PUBLISHED.grid(report).rows
    best = max(cell.interval.mean for cell in report.first[0].scored)
    assert (dataset.text, value.text, model.text) == (synthetic.SENTIMENT.dataset, "0.900", "an SVM, 1,200 parameters")
    assert float(here.text) == round(best, 3) and "accuracy" in metric.text and "a paper" in model.below
    assert list(rows(report)) == list(rows(plain))
    assert not PUBLISHED.grid(plain).rows
