"""A metric as one value: what it is, how it is computed, and how it is shown.

Most metrics are functions of sums over examples: of n-gram matches and counts (BLEU), of hits by label (macro F1), of
nats and bytes (bits per byte). Such a metric states two functions, and all else follows from them:

    statistics(references, answers) -> (n, k)   what each example adds to the sums
    of_sums((r, k)) -> (r,)                     the metric of r sets of examples, from the sums of each

    value        of_sums(statistics summed)
    interval     of_sums(statistics resampled), see ``intervals``
    example i    its contribution, see ``intervals.contributions``
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from archbench.tasks.base.errors import is_signalled, one_line
from archbench.tasks.base.values import Score
from archbench.tasks.metrics.intervals import Floats, contributions, ratio, ratios, resampled_score, scored

Direction = Literal["higher", "lower", ""]
Reads = Literal["texts", "likelihoods", ""]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
FACTS = ("label", "better", "meaning", "least", "most", "unit", "decimals", "margin", "across_tokenizers", "recorded")


@dataclass(frozen=True)
class Metric:
    """A metric; ``better`` is empty for a descriptive metric.

    Values lie from ``least`` to ``most``, in ``unit`` ("" for shares), and are printed with ``decimals`` digits.
    ``margin`` is the smallest relevant difference, None if none is declared. ``across_tokenizers``: comparable between
    models with different tokenizers (metrics per token are not). ``recorded``: the table of predictions has a column of
    this name, with the contribution of each example.

    ``statistics`` takes what the metric ``reads``: ``(references, answers)`` (n,) of texts, ``(nats, tokens)`` or
    ``(nats, bytes)`` (n,) of likelihoods. Without ``of_sums`` it gives a value for each example, (n,), and the metric
    is their mean. ``function`` takes the same and computes a metric that has no statistics; for its interval it is
    called again on examples drawn with replacement. With neither, the task's kind or the scoring loop computes it.

    Raises ``ValueError`` for values that contradict each other.
    """

    name: str
    label: str
    better: Direction
    meaning: str
    least: float = -math.inf
    most: float = math.inf
    unit: str = ""
    decimals: int = 3
    margin: float | None = None
    across_tokenizers: bool = True
    recorded: bool = False
    reads: Reads = "texts"
    function: Callable[..., float] | None = field(default=None, repr=False)
    statistics: Callable[..., Floats] | None = field(default=None, repr=False)
    of_sums: Callable[[Floats], Floats] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checks = (
            (self.better in DIRECTIONS, f'better: {self.better!r}: expected "higher" or "lower"'),
            (_number(self.least) and _number(self.most) and self.least < self.most,
             f"range: {self.least!r} to {self.most!r}: expected the least and the greatest value"),
            (isinstance(self.decimals, int) and 0 <= self.decimals <= 10,
             f"decimals: {self.decimals!r}: expected 0 to 10"),
            (self.margin is None or (_number(self.margin) and self.margin > 0),
             f"margin: {self.margin!r}: expected more than 0"),
            (self.function is None or self.statistics is None, "function, statistics: give one of the two"),
        )  # fmt: skip
        for holds, message in checks:
            if not holds:
                raise ValueError(message)

    def value(self, *given: Any) -> float:
        """The metric of ``given``. Raises ``ValueError`` if it is no number or outside the metric's range."""
        try:
            return self._checked(self._unchecked(*given))
        except BaseException as error:
            if isinstance(error, Exception) or is_signalled(error):
                raise
            raise ValueError(f"raises {one_line(error)}") from error  # SystemExit, for example

    def score(self, *given: Any) -> Score:
        """The metric of ``given`` with its 95% interval and, if it is ``recorded``, the contribution of each example.

        Raises whatever its functions raise, and ``ValueError`` where they give no number in the metric's range.
        """
        if self.statistics is None:
            return resampled_score(self.name, self.value, *given)
        statistics, of_sums = self._sums(*given)
        score = scored(self.name, statistics, of_sums)
        if self.reads == "texts":
            self._checked(score.value)
        return replace(score, per_example=self._per_example(statistics)) if self.recorded else score

    def per_example(self, *given: Any) -> tuple[float, ...]:
        """The contribution of each example to the metric of ``given``, as `score` has them."""
        return self._per_example(self._sums(*given)[0])

    def facts(self) -> dict[str, Any]:
        """The facts that reports need, as plain values."""
        return {"metric": self.name, **{key: getattr(self, key) for key in FACTS}}

    @property
    def best(self) -> float:
        """The end of the scale on the better side, infinite where there is none."""
        return {"higher": self.most, "lower": self.least, "": math.nan}[self.better]

    @property
    def worst(self) -> float:
        """The end of the scale on the worse side, infinite where there is none."""
        return {"higher": self.least, "lower": self.most, "": math.nan}[self.better]

    @property
    def extent(self) -> float:
        """The largest possible difference of two scores; may be infinite."""
        return abs(self.best - self.worst)

    @property
    def direction(self) -> str:
        """In words, for a table's head or an axis."""
        return {"higher": "higher is better", "lower": "lower is better", "": "descriptive only"}[self.better]

    @property
    def label_with_arrow(self) -> str:
        """The label, and an arrow to the better side where there is one."""
        return f"{self.label} {dict(higher='↑', lower='↓').get(self.better, '')}".strip()

    def gain(self, difference: float) -> float:
        """``difference`` with the sign that makes better positive."""
        return -difference if self.better == "lower" else difference

    def _sums(self, *given: Any) -> tuple[Floats, Callable[[Floats], Floats]]:
        """The statistics (n, k) and the function of their sums; a mean is a ratio with a whole of 1 for each."""
        assert self.statistics is not None, self.name
        statistics = np.asarray(self.statistics(*given), np.float64)
        if self.of_sums is not None:
            return statistics, self.of_sums
        return ratios(statistics, np.ones(len(statistics))), ratio

    def _per_example(self, statistics: Floats) -> tuple[float, ...]:
        values = statistics[:, 0] if self.of_sums is None else contributions(statistics, self.of_sums)
        return tuple(values.tolist())

    def _unchecked(self, *given: Any) -> Any:
        if self.function is not None:
            return self.function(*given)
        statistics, of_sums = self._sums(*given)
        return of_sums(statistics.sum(axis=0, keepdims=True))[0]

    def _checked(self, result: Any) -> float:
        if isinstance(result, bool | str | bytes) or result is None:
            raise ValueError(f"returned {result!r}; expected a number")
        try:
            value = float(result)
        except (TypeError, ValueError):
            raise ValueError(f"returned a {type(result).__name__}; expected a number") from None
        if math.isnan(value) or not self.least - 1e-9 <= value <= self.most + 1e-9:
            raise ValueError(f"returned {value:g}, which is outside of its range, {self.least:g} to {self.most:g}")
        return value


def _number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)
