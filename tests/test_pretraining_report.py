"""What pretraining buys: the report shows the differences that were planted, with the right signs."""

import figure_stores
import pytest

from archbench.reports.analysis import pretraining
from archbench.reports.figures import figures
from archbench.reports.page import printed
from archbench.runs.experiment.spec import FINETUNE, SCRATCH


def test_gains_are_differences_from_scratch_on_as_many_examples() -> None:
    entries = pretraining.adapted(figure_stores.judged("pretraining"))
    assert len(entries) == 3 * 3 * len(figure_stores.FAMILIES)
    by_place = {(e.architecture, e.start, e.adapt, e.examples): e for e in entries}
    for (name, start, _, examples), entry in by_place.items():
        assert (entry.gain is None) == (start == SCRATCH)
        if entry.gain is not None:
            base = by_place[name, SCRATCH, FINETUNE, examples]
            assert entry.gain.mean == pytest.approx(entry.score.mean - base.score.mean)
            assert entry.gain.lower < entry.gain.mean < entry.gain.upper
            planted = 0.2 * (20 / examples) ** 0.3 - 0.05 * (entry.adapt == "frozen")
            assert entry.gain.mean == pytest.approx(planted, abs=0.08)


def test_figure_and_table_say_the_same() -> None:
    judged = figure_stores.judged("pretraining")
    entries = pretraining.adapted(judged)
    figure = next(entry for entry in figures.figures(judged) if entry.name == "pretraining")
    assert [panel.below for panel in figure.panels] == ["finetuned", "frozen under a head"]
    assert "decoder +0." in figure.takeaway and "with 20 examples" in figure.takeaway
    assert len(figure.numbers) == len(entries)
    grid = printed.table(judged, "pretraining")
    assert len(grid.rows) == 9 and [row[2].text for row in grid.rows][:3] == [
        *("from scratch, finetuned", "after own, finetuned", "after own, frozen under a head"),
    ]
    assert all(bool(cell.below) == ("after" in row[2].text) for row in grid.rows for cell in row[3:])


def test_a_report_without_pretraining_shows_none() -> None:
    judged = figure_stores.judged("families")
    assert pretraining.adapted(judged) == ()
    with pytest.raises(ValueError, match="this table needs runs that start from a pretraining"):
        printed.table(judged, "pretraining")
