"""Examples, tokenizers, data sources, metrics and the task kinds; nothing here knows a model.

A file that adds a task kind or a metric imports what it needs from here: ``from archbench.tasks import TaskKind``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archbench.tasks.base.decoding import Decoding
    from archbench.tasks.base.kind import TaskKind
    from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score
    from archbench.tasks.kinds.text_to_text import baselines_by, measured_by
    from archbench.tasks.metrics.builtin import likelihood_scores, text_score
    from archbench.tasks.metrics.intervals import mean_score, ratio_score
    from archbench.tasks.metrics.metric import Metric

_FROM = {
    "Decoding": "base.decoding",
    "TaskKind": "base.kind",
    **dict.fromkeys(("Outputs", "Prepared", "Baseline", "Score"), "base.values"),
    **dict.fromkeys(("measured_by", "baselines_by"), "kinds.text_to_text"),
    **dict.fromkeys(("likelihood_scores", "text_score"), "metrics.builtin"),
    **dict.fromkeys(("mean_score", "ratio_score"), "metrics.intervals"),
    "Metric": "metrics.metric",
}

__all__ = [
    "Baseline",
    "Decoding",
    "Metric",
    "Outputs",
    "Prepared",
    "Score",
    "TaskKind",
    "baselines_by",
    "likelihood_scores",
    "mean_score",
    "measured_by",
    "ratio_score",
    "text_score",
]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
