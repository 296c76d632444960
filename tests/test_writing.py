"""What writing costs: the scores and FLOPs of each order in which answers were written."""

import figure_stores
import pytest
import synthetic
from synthetic import ORDERS, PHRASES

from archbench.reports.figures import plot
from archbench.reports.figures.figure import View
from archbench.reports.figures.figures import FIGURES
from archbench.reports.page import page, printed
from archbench.reports.readings.writing import LEFT_TO_RIGHT, writings


def test_each_order_has_the_mean_score_and_the_flops_of_its_runs() -> None:
    report = figure_stores.judged("orders")
    by_key = {(entry.architecture, entry.order): entry for entry in writings(report)}
    assert {name for name, _ in by_key} == set(PHRASES.truth)
    assert [order for name, order in by_key if name == "encoder"] == [LEFT_TO_RIGHT, *ORDERS]
    assert all(order == LEFT_TO_RIGHT for name, order in by_key if name != "encoder")
    usual = by_key["encoder", LEFT_TO_RIGHT]
    cells = {cell.architecture: cell for cell in report.first[0].cells}
    assert usual.score == cells["encoder"].interval and by_key["decoder", LEFT_TO_RIGHT].ratio == 1
    for order, (share, part) in ORDERS.items():
        entry = by_key["encoder", order]
        assert entry.score.mean == pytest.approx(share * usual.score.mean)
        assert entry.score.lower < entry.score.mean < entry.score.upper
        assert (entry.flops, entry.ratio) == (pytest.approx(part * 28e6), pytest.approx(part * 14))
    assert by_key["encoder", "one pass"].seconds == 0.5


def test_the_figure_says_what_the_best_other_order_scores_and_takes() -> None:
    figure = FIGURES["writing"].make(View(figure_stores.judged("orders")))
    rows = figure.numbers.set_index(["architecture", "order"])
    usual, best = (rows.loc[("encoder", order)] for order in (LEFT_TO_RIGHT, "10 rounds"))
    assert figure.takeaway == (
        f"{PHRASES.dataset}: in 10 rounds, encoder scores {best['mean']:.3f} for 0.70 of the FLOPs with which it "
        f"scores {usual['mean']:.3f} from left to right."
    )
    assert [panel.title for panel in figure.panels] == [PHRASES.dataset]
    (axes,) = plot.drawn(View(figure_stores.judged("orders")), "writing").axes[:1]
    assert axes.get_xscale() == "log" and {"1", "4", "10", LEFT_TO_RIGHT} <= {text.get_text() for text in axes.texts}


def test_the_section_is_there_where_answers_were_written_in_several_orders() -> None:
    report = figure_stores.judged("orders")
    assert '<section id="writing"' in page.render(report, [])
    text = printed.printed(printed.table(report, "writing"), "csv")
    assert all(order in text for order in synthetic.ORDERS)
    other = figure_stores.judged("families")
    assert '<section id="writing"' not in page.render(other, []) and not writings(other)
    assert not FIGURES["writing"].make(View(other)).panels
