"""The metrics as `evaluate.Metric` objects, for whoever scores with that library; the numbers are those of `metrics`.

load("chrf").compute(predictions=["fünf Tage"], references=["fünf Tage"])        {"chrf": 100.0}
load("bits_per_byte").compute(predictions=[nats, ...], references=[bytes, ...])
load("copied").compute(predictions=[ids, ...], stream=training_ids, order=8)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.metric import Metric


def load(name: str) -> Any:
    """The metric of that name. Takes seconds the first time: it imports ``evaluate``. Raises KeyError otherwise."""
    import datasets
    import evaluate

    features, compute = _parts(name, datasets)

    class EvaluateMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=str(compute.__doc__),
                citation="",
                inputs_description=f"columns: {', '.join(features)}",
                features=datasets.Features(features),
            )

        def _compute(self, **columns: Any) -> dict[str, float]:
            return {name: compute(**columns)}

    return EvaluateMetric(keep_in_memory=True)


def _parts(name: str, datasets: Any) -> tuple[dict[str, Any], Callable[..., float]]:
    """The columns that a metric reads, and the function of them."""
    text, number, ids = datasets.Value("string"), datasets.Value("float64"), datasets.Sequence(datasets.Value("int32"))
    metric = BUILTIN[name]
    if metric.function is None:
        raise KeyError(name)
    value = metric.value
    if metric.reads == "texts":
        return {"predictions": text, "references": text}, _documented(
            metric, lambda predictions, references: value(references, predictions)
        )
    if metric.reads == "likelihoods":
        return {"predictions": number, "references": number}, _documented(
            metric, lambda predictions, references: value(np.array(predictions), np.array(references))
        )
    return {"predictions": ids}, _documented(
        metric, lambda predictions, **options: value([np.array(text, np.int32) for text in predictions], **options)
    )


def _documented(metric: Metric, wrapped: Callable[..., float]) -> Callable[..., float]:
    wrapped.__doc__ = metric.function.__doc__
    return wrapped
