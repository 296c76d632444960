"""A metric as one value: its name, better direction, computation, resampling and number format."""

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from archbench.tasks.base.errors import is_signalled, one_line
from archbench.tasks.base.values import Score

Direction = Literal["higher", "lower", ""]
Reads = Literal["texts", "likelihoods", "tokens", ""]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
FACTS = ("label", "better", "meaning", "least", "most", "unit", "decimals", "margin", "across_tokenizers", "recorded")


@dataclass(frozen=True)
class Metric:
    """A metric; ``better`` is empty for a descriptive metric.

    Values lie from ``least`` to ``most``, in ``unit`` ("" for shares), and are printed with ``decimals`` digits.
    ``margin`` is the smallest relevant difference, None if none is declared. ``across_tokenizers``: comparable between
    models with different tokenizers (metrics per token are not). ``recorded``: the table of predictions has one value
    for each example.

    ``function`` computes it from what it ``reads``: ``(references, answers)`` (n,) of texts, ``(nats, tokens)`` or
    ``(nats, bytes)`` (n,) of likelihoods, token ids of answers; None where the scoring loop computes it.
    ``score`` computes a metric of texts with its interval; None: ``function`` is called again on examples drawn with
    replacement.

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
    score: Callable[[Sequence[str], Sequence[str]], Score] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checks = (
            (bool(self.name), "name: is empty"),
            (self.better in DIRECTIONS, f'better: {self.better!r}: expected "higher" or "lower"'),
            (_number(self.least) and _number(self.most) and self.least < self.most,
             f"range: {self.least!r} to {self.most!r}: expected the least and the greatest value"),
            (isinstance(self.decimals, int) and 0 <= self.decimals <= 10,
             f"decimals: {self.decimals!r}: expected 0 to 10"),
            (self.margin is None or (_number(self.margin) and self.margin > 0),
             f"margin: {self.margin!r}: expected more than 0"),
        )  # fmt: skip
        for holds, message in checks:
            if not holds:
                raise ValueError(message)

    def value(self, *given: Any, **options: Any) -> float:
        """The function's value. Raises ``ValueError`` if it is no number or outside the metric's range."""
        assert self.function is not None, self.name
        try:
            result = self.function(*given, **options)
        except BaseException as error:
            if isinstance(error, Exception) or is_signalled(error):
                raise
            raise ValueError(f"raises {one_line(error)}") from error  # SystemExit, for example
        if isinstance(result, bool | str | bytes) or result is None:
            raise ValueError(f"returned {result!r}; expected a number")
        try:
            value = float(result)
        except (TypeError, ValueError):
            raise ValueError(f"returned a {type(result).__name__}; expected a number") from None
        if math.isnan(value) or not self.least - 1e-9 <= value <= self.most + 1e-9:
            raise ValueError(f"returned {value:g}, which is outside of its range, {self.least:g} to {self.most:g}")
        return value

    def facts(self) -> dict[str, Any]:
        """The facts that reports need, as plain values."""
        return {"metric": self.name, **{key: getattr(self, key) for key in FACTS}}


def _number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)
