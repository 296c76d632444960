"""The metrics as `evaluate.Metric` objects, for whoever scores with that library; the numbers are those of `metrics`.

load("chrf").compute(predictions=["fünf Tage"], references=["fünf Tage"])        {"chrf": 100.0}
load("bits_per_byte").compute(predictions=[nats, ...], references=[bytes, ...])
load("copied").compute(predictions=[ids, ...], stream=training_ids, order=8)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from archbench.tasks.metrics import metrics

LIKELIHOOD: dict[str, Callable[..., float]] = {
    "nll_per_token": metrics.nll_per_token,
    "perplexity": metrics.perplexity,
    "bits_per_byte": metrics.bits_per_byte,
}
SAMPLE: dict[str, Callable[..., float]] = {
    "repetition": metrics.repetition,
    "distinct_2": metrics.distinct_2,
    "copied": metrics.copied,
}


def load(name: str) -> Any:
    """The metric of that name. Takes seconds the first time: it imports ``evaluate``. Raises KeyError otherwise."""
    import datasets
    import evaluate

    features, compute = _parts(name, datasets)

    class Metric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=str(compute.__doc__),
                citation="",
                inputs_description=f"columns: {', '.join(features)}",
                features=datasets.Features(features),
            )

        def _compute(self, **columns: Any) -> dict[str, float]:
            return {name: compute(**columns)}

    return Metric(keep_in_memory=True)


def _parts(name: str, datasets: Any) -> tuple[dict[str, Any], Callable[..., float]]:
    """The columns that a metric reads, and the function of them."""
    text, number, ids = datasets.Value("string"), datasets.Value("float64"), datasets.Sequence(datasets.Value("int32"))
    if name in metrics.TEXT:
        function = metrics.TEXT[name]
        return {"predictions": text, "references": text}, _documented(
            function, lambda predictions, references: function(references, predictions)
        )
    if name in LIKELIHOOD:
        likelihood = LIKELIHOOD[name]
        return {"predictions": number, "references": number}, _documented(
            likelihood, lambda predictions, references: likelihood(np.array(predictions), np.array(references))
        )
    sample = SAMPLE[name]
    return {"predictions": ids}, _documented(
        sample, lambda predictions, **options: sample([np.array(one, np.int32) for one in predictions], **options)
    )


def _documented(function: Callable[..., float], wrapped: Callable[..., float]) -> Callable[..., float]:
    wrapped.__doc__ = function.__doc__
    return wrapped
