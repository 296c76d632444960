"""Pairs of architectures: which is ahead, whether they are equal within the margin that matters, or neither is decided.

The experiment declares its primary contrasts. They are one family, over all data sets under the first condition, by
each data set's primary measures, and are corrected for being one (Holm 1979); the variance between seeds is pooled over
the architectures that they name, so that a variant that is added later changes none of them. Every other pair is
exploratory and not corrected.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, Literal

from archbench.reports.base.declared import Pair
from archbench.reports.base.statistics import LEVEL, Interval, at_level, holm, holm_divisors
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.gates import BELOW_GATE, Gate
from archbench.reports.results.groups import Group
from archbench.tasks.metrics.metric import Metric

ALPHA: Final = 1 - LEVEL
P_VALUES: Final = ("p", "p_beyond", "p_welch", "p_beyond_welch", "p_pooled", "p_beyond_pooled", "p_paired")
Alternative = Literal["welch", "pooled"]


@dataclass(frozen=True)
class Contrast:
    """``first`` against ``second``; ``difference`` is positive where the first is better.

    ``p`` is that of no difference, ``p_beyond`` that of a difference beyond ``margin``: a small one shows equality
    (TOST). Both are Holm-corrected for ``corrected_for`` tests. ``detectable`` is the minimum detectable difference
    (80% power, at the level of all its tests). ``seeds_needed`` is the number of seeds that each needs to decide it
    with that power if the true difference is the observed one, and ``needed_to_show`` what they show: a "difference",
    or "equality" within the margin; None and "" where no number up to 100 shows either. ``seeds`` is the smaller number
    of seeds that the two have. ``diverged`` says which of its runs diverged, in words; ``survivor`` is the one all of
    whose runs finished where every run of the other diverged, empty elsewhere. ``failed_gates`` are the gates of those
    of the two that are below them, whatever the outcome. ``accounting`` says where a decided contrast is decided
    differently because something else is held equal or other tokens have a loss; empty where nowhere.

    Primary contrasts also have p values by other rules for the variance between seeds, corrected in the same way: by
    Welch's test, by one variance for all architectures in primary contrasts, and by pairs of equal seeds; nan where
    unknown.
    ``alpha`` is the level at which Holm's procedure tests it: ``p`` is at most 0.05 where the uncorrected p is at most
    ``alpha``. ``decided_after`` is the number of seeds at which an experiment that adds seeds decided it; None
    elsewhere. ``about`` is what its family of tests has to say of it (``Question``). ``several``: its data set has
    several primary measures. ``group`` has the runs of both sides.
    """

    dataset: str
    task: str
    condition: str
    metric: Metric
    first: str
    second: str
    difference: Interval
    p: float
    p_beyond: float
    margin: float
    detectable: float
    seeds_needed: int | None
    seeds: int
    corrected_for: int = 1
    diverged: str = ""
    survivor: str = ""
    needed_to_show: str = ""
    failed_gates: tuple[Gate, ...] = ()
    accounting: str = ""
    p_welch: float = math.nan
    p_beyond_welch: float = math.nan
    p_pooled: float = math.nan
    p_beyond_pooled: float = math.nan
    p_paired: float = math.nan
    decided_after: int | None = None
    alpha: float = ALPHA
    about: str = ""
    several: bool = False
    group: Group | None = field(default=None, compare=False, repr=False)

    @property
    def title(self) -> str:
        """The data set, and the metric where it has several primary measures: "multi30k-de-en by BLEU"."""
        return f"{self.dataset} by {self.metric.label}" if self.several else self.dataset

    @property
    def corrected(self) -> Interval:
        """The difference with its interval at the level of the corrected test: it excludes 0 if that finds one."""
        wide, most = at_level(self.difference, 1 - self.alpha), self.metric.extent
        return replace(wide, lower=max(wide.lower, -most), upper=min(wide.upper, most))

    @property
    def gate(self) -> str:
        """Which of the two is below its gate, and why; empty where both pass."""
        return "; ".join(f"{gate.architecture} is {BELOW_GATE}: {gate.reason}" for gate in self.failed_gates)

    @property
    def flat(self) -> bool:
        """True if no score of either varied, so that no test is possible."""
        return self.difference.standard_error == 0

    @property
    def outcome(self) -> str:
        """``ahead`` (the first is), ``behind``, ``equal`` (within the margin), ``open``; ``unknown`` without a test.

        ``accounting`` where the outcome depends on the accounting, whatever the test says.
        """
        if math.isnan(self.p):
            return "unknown"
        if self.accounting:
            return "accounting"
        if self.p <= ALPHA:
            return "ahead" if self.difference.mean > 0 else "behind"
        return "equal" if self.p_beyond <= ALPHA else "open"

    @property
    def lost_to_divergence(self) -> bool:
        """True if there is no test because runs diverged."""
        return self.outcome == "unknown" and bool(self.diverged)

    def with_variance_rule(self, rule: Alternative) -> "Contrast":
        """The contrast as it comes out under another rule for the variance between seeds."""
        values = {"p": getattr(self, f"p_{rule}"), "p_beyond": getattr(self, f"p_beyond_{rule}")}
        return replace(self, **values)

    @property
    def ignoring_accounting(self) -> "Contrast":
        """The contrast by its own condition, whatever other accountings say."""
        return replace(self, accounting="") if self.accounting else self

    @property
    def decided(self) -> bool:
        return self.outcome in ("ahead", "behind", "equal")

    @property
    def small(self) -> bool:
        """True if one is better, but by less than the margin."""
        return self.outcome in ("ahead", "behind") and self.p_beyond <= ALPHA

    @property
    def better(self) -> str:
        """The better one; empty if there is none."""
        return {"ahead": self.first, "behind": self.second}.get(self.outcome, "")

    @property
    def worse(self) -> str:
        """The worse one; empty if there is none."""
        return {"ahead": self.second, "behind": self.first}.get(self.outcome, "")


@dataclass(frozen=True)
class Answers:
    """All tests, by family: see ``families``."""

    by_family: Mapping[str, tuple[Contrast, ...]]

    def __getitem__(self, family: str) -> tuple[Contrast, ...]:
        return self.by_family.get(family, ())

    @property
    def primary(self) -> tuple[Contrast, ...]:
        return self["primary"]

    @property
    def exploratory(self) -> tuple[Contrast, ...]:
        return self["exploratory"]

    def primary_on(self, comparison: Comparison) -> list[Contrast]:
        """The primary contrasts of a data set by a measure."""
        return of_measure(self.primary, comparison)

    def under_condition(self, contrast: Contrast, condition: str) -> Iterator[Contrast]:
        """The same pair on the same data set by the same metric under a further condition, with the same first side."""
        pair = contrast.first, contrast.second
        return self.of_pair(contrast.dataset, contrast.metric, condition, pair, ("exploratory",))

    def of_pair(
        self, dataset: str, metric: Metric, condition: str, pair: Pair, families: Sequence[str]
    ) -> Iterator[Contrast]:
        """The contrasts of a pair in these families by a metric under a condition, in the pair's order."""
        wanted = dataset, metric, condition, set(pair)
        for other in chain.from_iterable(map(self.__getitem__, families)):
            if (other.dataset, other.metric, other.condition, {other.first, other.second}) == wanted:
                yield other if other.first == pair[0] else turned(other)

    def pair(self, first: str, second: str) -> Iterator[Contrast]:
        """Every contrast of two architectures under the first condition, turned so that ``first`` is the first.

        By every primary measure of each data set.
        """
        for contrast in (*self.primary, *self.exploratory):
            if {contrast.first, contrast.second} == {first, second} and not contrast.condition:
                yield contrast if contrast.first == first else turned(contrast)


def of_measure(contrasts: Sequence[Contrast], comparison: Comparison) -> list[Contrast]:
    """Those of the contrasts that are about the data set of a comparison, by its measure."""
    place = comparison.group.dataset, comparison.metric
    return [contrast for contrast in contrasts if (contrast.dataset, contrast.metric) == place]


def architectures_of(contrasts: Sequence[Contrast]) -> list[str]:
    """The architectures that contrasts name, in their order."""
    return list(dict.fromkeys(name for contrast in contrasts for name in (contrast.first, contrast.second)))


def below_gate(contrasts: Sequence[Contrast]) -> list[str]:
    """The architectures that are below their gates, in the order of the contrasts."""
    failing = {gate.architecture for contrast in contrasts for gate in contrast.failed_gates}
    return [name for name in architectures_of(contrasts) if name in failing]


def wins(architecture: str, primary: Sequence[Contrast]) -> bool:
    """True if an architecture wins on a data set: it is better than each rival that its primary contrasts name.

    An intersection-union test (Berger 1982) of corrected tests. Where not every pair is declared, as with a default and
    its variants, who is not tested against all rivals does not win: at most one architecture wins on a data set.
    """
    named = set(architectures_of(primary))
    beaten = {contrast.worse for contrast in primary if contrast.better == architecture}
    return architecture in named and named - {architecture} <= beaten


def winner(primary: Sequence[Contrast]) -> str:
    """The architecture that wins on a data set; empty if none does."""
    return next((name for name in architectures_of(primary) if wins(name, primary)), "")


def every_pair(primary: Sequence[Contrast]) -> bool:
    """True if the primary contrasts of a data set are every pair of the architectures that they name."""
    count = len(architectures_of(primary))
    return len(primary) == count * (count - 1) // 2


def marked(comparison: Comparison, primary: Sequence[Contrast]) -> Comparison:
    """The comparison with its best architecture marked: the one that wins, if it also has the best mean of all.

    An architecture that no primary contrast names must be worse too, by the interval of its difference.
    """
    others = set(comparison.group.architectures) - set(architectures_of(primary))
    best = winner(primary)
    if best != comparison.leader or others & set(comparison.open_rivals):
        best = ""
    cells = tuple(replace(cell, best=cell.architecture == best) for cell in comparison.cells)
    return replace(
        comparison,
        cells=cells,
        detects={frozenset((contrast.first, contrast.second)): contrast.detectable for contrast in primary},
    )


def holm_corrected(
    contrasts: Sequence[Contrast], settled: Mapping[int, Contrast] | None = None, planned: int = 0
) -> list[Contrast]:
    """The contrasts with Holm-corrected p values, separately for difference and equality, and for each other test.

    ``settled`` are contrasts, by their place, that earlier looks have corrected: they stay as they are. One that was
    significant leaves the correction of the others; one that was not still counts as a test. So does each of the
    ``planned`` ones, which are declared and have no runs yet.
    """
    settled = settled or {}
    tested = {
        name: _tested([getattr(contrast, name) for contrast in contrasts], name, settled, planned) for name in P_VALUES
    }
    columns = {name: holm(values) for name, values in tested.items()}
    divisors = holm_divisors(tested["p"], ALPHA)
    corrected = []
    for index, contrast in enumerate(contrasts):
        changes: dict[str, Any] = {name: values[index] for name, values in columns.items()}
        changes["alpha"] = contrast.alpha / divisors[index]
        corrected.append(settled.get(index) or replace(contrast, corrected_for=len(contrasts) + planned, **changes))
    return corrected


def _tested(values: Sequence[float], name: str, settled: Mapping[int, Contrast], planned: int) -> list[float]:
    """The p values of a family, with those that earlier looks settled and those of tests without runs yet."""
    before = {index: 0.0 if getattr(contrast, name) <= ALPHA else 1.0 for index, contrast in settled.items()}
    return [*(before.get(index, value) for index, value in enumerate(values)), *[1.0] * planned]


def row(contrast: Contrast) -> dict[str, object]:
    """The contrast as a row of a table."""
    gap = contrast.difference
    numbers = {**gap.columns("difference"), "error": gap.standard_error}
    no_columns = ("difference", "failed_gates", "several", "group")
    facts = {name: value for name, value in vars(contrast).items() if name not in no_columns}
    return {
        **facts,
        "metric": contrast.metric.name,
        **numbers,
        "degrees": gap.df,
        "outcome": contrast.outcome,
        "gate": contrast.gate,
    }


def turned(contrast: Contrast) -> Contrast:
    """The same contrast from the second's side."""
    gap = contrast.difference
    difference = Interval(-gap.mean, -gap.upper, -gap.lower, gap.standard_error, gap.df)
    return replace(contrast, first=contrast.second, second=contrast.first, difference=difference)
