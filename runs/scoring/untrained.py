"""A user's kind of task, tried on small untrained models before the first run: a mistake in it costs seconds."""

from dataclasses import replace

import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.runs.scoring.score import Predictor, scored
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared
from archbench.tasks.kinds import own, registry, task
from archbench.tasks.text.splits import Subset

MODELS = ("decoder", "encoder")  # without and with ``bound_nats``
SIZE = Size(dim=16, heads=2, depth=1, hidden=32)
EXAMPLES = 40  # the first of the test split


def try_kind(prepared: Prepared) -> None:
    """Scores a few test examples by a kind that is not archbench's own.

    Raises ``InputError`` where its ``measure`` fails, returns something else, or gives no score by one of its metrics.
    """
    kind = registry.of(prepared.config)
    if not kind.origin or kind.measure is None:
        return
    assert isinstance(prepared.test, Subset)
    few = replace(prepared, test=Subset(prepared.test.examples, prepared.test.indices[:EXAMPLES]))
    for name in MODELS:
        with torch.random.fork_rng(devices=[]):
            model = _model(name, few)
            predicted = Predictor(model, few, "cpu", lambda done, total: None, lambda: False).predict(few.test)
        try:
            given = [score.metric for score in task.scores_by_kind(few, scored(few, few.test, predicted).outputs)]
        except InputError as error:
            raise InputError(f"{error} (tried on {len(few.test)} test examples of an untrained {name})") from None
        lacking = [metric for metric in kind.metrics if metric not in given]
        if lacking:
            raise InputError(
                f"{own.where_in(kind, 'measure', prepared)}: gave {', '.join(given) or 'no score'}; "
                f'expected also "{lacking[0]}", which is in metrics'
            )


def _model(name: str, prepared: Prepared) -> torch.nn.Module:
    torch.manual_seed(0)
    config, labels = prepared.config, prepared.tokenizer.labels
    limits = Limits(prepared.tokenizer.vocabulary, config.source_length, config.target_length)
    model: torch.nn.Module = catalogue.find(name).builder(labels)(SIZE, limits)
    return model
