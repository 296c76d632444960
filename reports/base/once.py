"""Results that a report keeps, so that page, terminal and figures share them."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from archbench.reports.report import Report

Result = TypeVar("Result")


def once_per_report(derive: Callable[["Report"], Result]) -> Callable[["Report"], Result]:
    """Decorates a function of a report: its result is computed once for each report and kept."""

    @wraps(derive)
    def kept(report: "Report") -> Result:
        if derive not in report.kept:
            report.kept[derive] = derive(report)
        return cast(Result, report.kept[derive])

    return kept
