"""Controls: pairs with a known outcome, which show what the comparison can and cannot detect.

A control repeats an architecture of the comparison with other seeds, on its whole budget (no difference is expected)
or on a part of it (a difference is expected). ``about`` of its contrast is "same" or "ahead".
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.testing import Question
from archbench.reports.results.groups import Group

if TYPE_CHECKING:
    from archbench.reports.report import Report


def controls(report: "Report") -> Iterator[Question]:
    """Each control against the architecture that it repeats."""
    placed = report.comparisons.placed("control")
    for comparison in report.compared[0]:
        rows = placed[(placed["dataset"] == comparison.group.dataset).fillna(False)]
        for name, control in rows.groupby("architecture", sort=False):
            reference = _reference(comparison.group, str(name))
            if reference is None:
                continue
            group = comparison.group.of({reference: comparison.group.by_architecture[reference], str(name): control})
            expected = "same" if (control["share"] == 1).all() else "ahead"
            yield Question(group, comparison.metric, (reference, str(name)), about=expected)


def is_as_expected(contrast: Contrast) -> bool | None:
    """True if a control has the expected outcome; None if it could not be tested."""
    if contrast.outcome == "unknown":
        return None
    return contrast.outcome in (("equal", "open") if contrast.about == "same" else ("ahead",))


def _reference(group: Group, control: str) -> str | None:
    """The architecture of the group that a control repeats: its name begins with it."""
    return next((name for name in group.architectures if control.startswith(f"{name}, ")), None)
