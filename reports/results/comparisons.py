"""All comparisons of a set of tables, by data set, condition and metric."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base.declared import contrasts_and_margins
from archbench.reports.base.metrics import of_table, primary, within
from archbench.reports.base.predictions import Contributions, contributions, matrix, of_runs
from archbench.reports.base.statistics import (
    Interval,
    Sample,
    VarianceEstimate,
    difference_interval,
    mean_interval,
    pool,
    with_high_variance,
)
from archbench.reports.base.tables import Tables
from archbench.reports.results.comparison import CHECKPOINT, TARGET, UNTRAINED, Cell, Comparison, oriented
from archbench.reports.results.gates import Gate, Gates
from archbench.reports.results.groups import (
    ROLES,
    SETTING,
    Group,
    compared_groups,
    is_checkpoint_as_is,
    is_started_elsewhere,
    placed,
)
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import BETWEEN_MEASURES, FINETUNE, SCRATCH

NOT_FITTED: Final = ("copy", "majority", UNTRAINED)  # baselines that need no or hardly any training examples
_UNKNOWN: Final = Interval(math.nan)


class Comparisons:
    """Compares the groups of a set of tables; keeps what several metrics of a group share."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._metrics = of_table(tables.get("metrics"))
        finished = tables["runs"].loc[tables["runs"]["status"] == "done", "run"]
        scores = tables["scores"]
        test = scores[(scores["split"] == "test") & scores["run"].isin(finished) & np.isfinite(scores["value"])]
        test = test.drop_duplicates(["run", "metric"], keep="last")
        by_metric = {str(name): rows.set_index("run") for name, rows in test.groupby("metric", sort=False)}
        self._scores = {name: rows["value"] for name, rows in by_metric.items()}
        self._example_counts = {name: rows["n"] for name, rows in by_metric.items()}
        self._by_run = test.groupby("run", sort=False)["metric"].agg(list)
        self.groups = list(compared_groups(tables))
        self._compared: dict[tuple[Group, str], Comparison] = {}
        self._samples: dict[tuple[Group, str], dict[str, Sample]] = {}
        self._unmarked: dict[tuple[Group, str], tuple[dict[str, dict[int, float]], dict[str, Sample]]] = {}
        self._gated: dict[tuple[str, ...], Gate] = {}
        self._placed: dict[str, pd.DataFrame] = {}
        self._sides: dict[Place, pd.DataFrame] = {}
        self._split: dict[str, tuple[pd.DataFrame, dict[tuple[Any, ...], pd.DataFrame]]] = {}
        self._contributed: dict[str, dict[str, pd.Series[Any] | None]] = {}
        self._pooled: dict[tuple[frozenset[Any], str], VarianceEstimate] = {}

    @cached_property
    def _gates(self) -> Gates:
        return Gates(self.tables, self._scores)

    def gate(self, group: Group, architecture: str) -> Gate:
        """The gate of an architecture of a group."""
        runs = group.by_architecture.get(architecture, group.runs.iloc[:0])
        key = (group.dataset, architecture, *runs["run"])
        if key not in self._gated:
            self._gated[key] = self._gates.of(group.dataset, architecture, runs)
        return self._gated[key]

    def below_gates(self, comparison: Comparison) -> list[Gate]:
        """The gates of the scored architectures that are below them."""
        gates = (self.gate(comparison.group, cell.architecture) for cell in comparison.scored)
        return [gate for gate in gates if not gate.passed]

    def primary(self, group: Group) -> tuple[str, ...]:
        """The primary measures of the group's data set, as far as it was scored by them; ("",) without scores."""
        rows = self.tables["datasets"]
        named = rows.loc[rows["dataset"] == group.dataset, "primary"].dropna()
        available = self.metrics(group)
        stated = str(named.iloc[0]).split(BETWEEN_MEASURES) if len(named) else []
        return tuple(name for name in stated if name in available) or (primary(group.task, available),)

    def metrics(self, group: Group) -> list[str]:
        """The metrics that the group's runs were scored by on test, in the order of the records."""
        scored = self._by_run.reindex(group.runs["run"]).dropna()
        return list(dict.fromkeys(name for names in scored for name in names))

    def headlines(self) -> list[Comparison]:
        """The comparison by the first primary measure for each group, the first condition of each data set first."""
        return [self.compare(group, self.primary(group)[0]) for group in self.groups]

    def by_measure(self, comparison: Comparison) -> list[Comparison]:
        """The comparison by each primary measure of its data set, the first one first."""
        return [self.compare(comparison.group, name) for name in comparison.measures]

    def compare(self, group: Group, name: str) -> Comparison:
        """Compare the group's architectures by the metric `name`."""
        key = (group, name)
        if key not in self._compared:
            self._compared[key] = self._compare(group, name)
        return self._compared[key]

    def _compare(self, group: Group, name: str) -> Comparison:
        measure = self._metrics[name]
        seeds, samples = self.by_seed(group, name), self.samples(group, name)
        pooled = self.pooled(group.settings(), name)
        means = {name: within(mean_interval(sample, pooled), measure) for name, sample in samples.items()}
        leader = max(means, key=lambda name: measure.gain(means[name].mean), default="") if measure.better else ""
        differences = {
            name: oriented(difference_interval(samples[leader], samples[name], pooled), measure)
            for name in means
            if leader and name != leader
        }
        planned = group.runs["architecture"].value_counts()
        cells = tuple(
            Cell(
                architecture, seeds.get(architecture, {}), means.get(architecture, _UNKNOWN), int(planned[architecture])
            )
            for architecture in group.architectures
        )
        counts = self._checkpoints(group, name, self._example_counts)
        return Comparison(
            group,
            measure,
            cells,
            leader,
            differences,
            baselines=self._baselines(group, name),
            resamples_examples=bool(samples) and all(sample.examples is not None for sample in samples.values()),
            test_examples=self._test_examples(group, name),
            idle=self._idle(group),
            checkpoints={architecture: int(count) for architecture, count in counts.items()},
            finetuned=self._finetuned(group, name),
            measures=self.primary(group),
        )

    def _test_examples(self, group: Group, name: str) -> tuple[int, int]:
        known = self._example_counts.get(name)
        counts = [] if known is None else known.reindex(group.runs["run"]).dropna()
        return (int(min(counts)), int(max(counts))) if len(counts) else (0, 0)

    def _idle(self, group: Group) -> tuple[str, ...]:
        """The encoder-decoders of a group whose data set has no source."""
        rows = self.tables["datasets"]
        if "source_length" not in rows or not (rows.loc[rows["dataset"] == group.dataset, "source_length"] == 0).any():
            return ()
        return tuple(group.runs.loc[(group.runs["family"] == "encoder-decoder").fillna(False), "architecture"].unique())

    def by_seed(self, group: Group, name: str) -> dict[str, dict[int, float]]:
        """Each architecture's scores by the metric ``name``, by seed."""
        return self._scored(group, name)[0]

    def samples(self, group: Group, name: str) -> dict[str, Sample]:
        """Each architecture's scores by the metric ``name``, with what each example gave where that is known."""
        key = (group, name)
        if key not in self._samples:
            entered = group.first_runs["entered"]
            self._samples[key] = {
                architecture: replace(
                    sample, high_variance=str(entered[architecture]).partition(", ")[0] in self._high_variance
                )
                for architecture, sample in self._scored(group, name)[1].items()
            }
        return self._samples[key]

    def pooled(self, settings: frozenset[tuple[Any, ...]], name: str) -> VarianceEstimate:
        """The variance between seeds by the metric ``name`` of everything trained in these settings.

        A setting is a data set under one condition, on one axis and one part of the budget; controls belong to theirs.
        """
        if (settings, name) not in self._pooled:
            scores, cells = self._scores.get(name, pd.Series(dtype=float)), {}
            settings_rows = [rows for key, rows in self._trained.items() if key in settings]
            for key, runs in (grouped for rows in settings_rows for grouped in rows.groupby("entered", sort=False)):
                values = scores.reindex(sorted(runs["run"].unique())).dropna()
                high_variance = str(key).partition(", ")[0] in self._high_variance
                cells[tuple(values.index)] = Sample(values.to_numpy(dtype=float), high_variance=high_variance)
            self._pooled[settings, name] = pool(list(cells.values()))
        return self._pooled[settings, name]

    def placed(self, role: str) -> pd.DataFrame:
        """A row for every place that a run has in this role."""
        if role not in self._placed:
            self._placed[role] = placed(self.tables, role)
        return self._placed[role]

    @cached_property
    def _on_parts(self) -> pd.DataFrame:
        """The runs on parts of the budget; of an architecture that is a control too, with the seeds of the control."""
        rows, controls = self.placed("share"), self.placed("control")
        key_columns = ["dataset", "match", "architecture", "share"]
        plain = rows[(rows["condition"].fillna("") == "").astype(bool)]
        plain_keys = set(plain[key_columns].itertuples(index=False, name=None))
        names = [str(name).partition(", ")[0] for name in controls["architecture"]]
        controls = controls.assign(architecture=names, entered=names)
        known = [entry in plain_keys for entry in controls[key_columns].itertuples(index=False, name=None)]
        return pd.concat([rows, controls[known]], ignore_index=True).drop_duplicates(["run", *key_columns, "condition"])

    def on_parts(self, comparison: Comparison) -> pd.DataFrame:
        """The runs on parts of the budget of a comparison's data set, on its axis, under no further condition."""
        rows, axis = self._on_parts, comparison.group.place.match
        chosen = (rows["dataset"] == comparison.group.dataset) & (rows["match"] == axis)
        chosen_rows: pd.DataFrame = rows[chosen.fillna(False) & (rows["condition"].fillna("") == "")]
        return chosen_rows

    def side(self, comparison: Comparison, named: str) -> pd.DataFrame:
        """The runs of an architecture's place (`place`) on a data set, on the axis of its first condition.

        Where all train on the target alone under the first condition, "X|target supervision" is X.
        """
        side = Place.parse(named)
        if side.condition == TARGET and self.is_on_target_alone(comparison):
            side = replace(side, condition="")
        side = replace(side, dataset=comparison.group.dataset, match=comparison.group.place.match)
        if side not in self._sides:
            rows = self._rows("compared" if side.share == 1 else "share", side)
            chosen = _is_adapted(rows, side) if side.start else rows["condition"].fillna("") == side.condition
            if side.share != 1:
                chosen &= rows["share"] == side.share
            self._sides[side] = rows[chosen.fillna(False)]
        return self._sides[side]

    def _rows(self, role: str, side: Place) -> pd.DataFrame:
        """The runs of an architecture that are compared, or on parts of the budget, on a data set and axis."""
        if role not in self._split:
            rows = self._on_parts if role == "share" else self.placed(role)
            parts = {tuple(key): part for key, part in rows.groupby(["dataset", "architecture", "match"], sort=False)}
            self._split[role] = rows.iloc[:0], parts
        none, parts = self._split[role]
        return parts.get((side.dataset, side.architecture, side.match), none)

    def is_on_target_alone(self, comparison: Comparison) -> bool:
        """True if every run under this condition has a loss on the target alone."""
        supervision = comparison.group.runs.get("supervision", pd.Series(dtype=str))
        return set(supervision.dropna()) == {"target"}

    @cached_property
    def _trained(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        """The places of all runs that are not trials, by setting."""
        rows_of_roles = pd.concat([self.placed(role) for role in ROLES], ignore_index=True)
        rows_of_roles = rows_of_roles.fillna({"condition": "", "share": 1.0})
        return {key: rows for key, rows in rows_of_roles.groupby(SETTING, sort=False)}

    @cached_property
    def _high_variance(self) -> set[str]:
        """The architectures whose seeds vary more than the declared ones', by each data set's first condition."""
        first = {group.dataset: group for group in reversed(self.groups)}
        named = [(group, name) for group in first.values() for name in self.primary(group) if name]
        sets = [self._scored(group, name)[1] for group, name in named]
        declared = {name for pair in contrasts_and_margins(self.tables)[0] for name in pair}
        present = {name for samples in sets for name in samples}
        return with_high_variance(sets, declared & present or present)

    @cached_property
    def margins(self) -> dict[str, float]:
        """The margins by metric."""
        return contrasts_and_margins(self.tables)[1]

    @cached_property
    def _predictions(self) -> dict[str, pd.DataFrame]:
        return of_runs(self.tables["predictions"])

    def _scored(self, group: Group, name: str) -> tuple[dict[str, dict[int, float]], dict[str, Sample]]:
        """Scores by seed, and samples that do not yet say which architecture's seeds vary more than others'."""
        key = (group, name)
        if key not in self._unmarked:
            self._unmarked[key] = self._read_scores(group, name)
        return self._unmarked[key]

    def _read_scores(self, group: Group, name: str) -> tuple[dict[str, dict[int, float]], dict[str, Sample]]:
        scores = self._scores.get(name, pd.Series(dtype=float))
        runs = group.runs[group.runs["run"].isin(scores.index)]
        by_run = self._contributions({run: float(scores[run]) for run in runs["run"]}, name)
        index = next((series.index for series in by_run.values()), pd.Index([]))
        seeds: dict[str, dict[int, float]] = {}
        samples: dict[str, Sample] = {}
        for architecture, rows in runs.groupby("architecture", sort=False):
            rows = rows.sort_values("seed")
            values = scores.loc[rows["run"]].to_numpy(dtype=float)
            seeds[str(architecture)] = dict(zip(_seeds(rows), values.tolist(), strict=True))
            samples[str(architecture)] = Sample(values, matrix(by_run, list(rows["run"]), index))
        return seeds, samples

    def _contributions(self, scores: Mapping[str, float], name: str) -> Contributions:
        """Contributions of examples to the scores of these runs; each run is read once, whatever groups it is in."""
        kept = self._contributed.setdefault(name, {})
        new = {run: value for run, value in scores.items() if run not in kept}
        kept |= dict.fromkeys(new) | contributions(self._predictions, new, name)
        return {run: values for run in scores if (values := kept[run]) is not None}

    def _baselines(self, group: Group, name: str) -> dict[str, float]:
        rows = self.tables["references"]
        rows = rows[(rows["dataset"] == group.dataset) & (rows["metric"] == name) & (rows["split"] == "test")]
        values = {str(row["name"]): float(row["value"]) for _, row in rows.iterrows() if math.isfinite(row["value"])}
        if not self._has_the_first_number_of_examples(group):
            values = {name: value for name, value in values.items() if name in NOT_FITTED}
        return values | self._checkpoints(group, name, self._scores)

    def _has_the_first_number_of_examples(self, group: Group) -> bool:
        """True if a group's models saw as many training examples as the classical methods, which are fitted once."""
        rows = self.placed("compared")
        if "examples" not in rows:
            return True
        first = rows.loc[rows["dataset"] == group.dataset, "examples"].iloc[:1]
        return set(group.runs["examples"].dropna()) <= set(first)

    def _checkpoints(self, group: Group, name: str, by_metric: "Mapping[str, pd.Series[Any]]") -> dict[str, float]:
        """Scores of checkpoints as they are on the group's data set, by a metric that takes no account of tokens."""
        runs, scores = self.tables["runs"], by_metric.get(name)
        if scores is None or not self._metrics[name].across_tokenizers:
            return {}
        others = runs[(runs["dataset"] == group.dataset) & is_checkpoint_as_is(runs) & runs["run"].isin(scores.index)]
        others = others[~others["run"].isin(group.runs["run"])]
        return {f"{CHECKPOINT}{row['architecture']}": float(scores[row["run"]]) for _, row in others.iterrows()}

    def _finetuned(self, group: Group, name: str) -> dict[str, float]:
        """Mean scores of the checkpoints that were finetuned on the data set and are not in the group.

        Of several numbers of training examples, it is the one nearest to the group's.
        """
        rows, scores = self.placed("compared"), self._scores.get(name)
        if scores is None or not self._metrics[name].across_tokenizers:
            return {}
        rows = rows[(rows["dataset"] == group.dataset) & is_started_elsewhere(rows) & rows["run"].isin(scores.index)]
        rows = rows[~rows["architecture"].isin(group.architectures)]
        means = {}
        for architecture, runs in rows.groupby("architecture", sort=False):
            distance = (runs["examples"].astype(float) - float(group.runs["examples"].iloc[0])).abs().fillna(0)
            nearest = runs[distance == distance.min()].drop_duplicates("run")
            means[str(architecture)] = float(scores[nearest["run"]].mean())
        return means


def parts(comparisons: Comparisons, comparison: Comparison) -> Iterator[Comparison]:
    """The architectures of a comparison on each part of the budget that they were trained on too."""
    for share, runs in comparisons.on_parts(comparison).groupby("share", sort=True):
        group = replace(comparison.group, condition=f"{share:.0%} of the budget", runs=runs)
        yield comparisons.compare(group, comparison.metric.name)


def _is_adapted(rows: pd.DataFrame, side: Place) -> "pd.Series[bool]":
    """True at the runs with this start, adaptation and number of examples."""
    if not {"start", "adapt", "examples"} <= set(rows):
        return pd.Series(False, index=rows.index)
    same = (rows["start"].fillna(SCRATCH) == side.start) & (rows["adapt"].fillna(FINETUNE) == side.adapt)
    counts = rows["examples"].astype(float)
    wanted = {"fewest": counts[same].min(), "most": counts[same].max()}.get(str(side.examples), side.examples)
    return same & (counts == wanted)


def _seeds(rows: pd.DataFrame) -> list[int]:
    """The runs' seeds; their places where some have none."""
    seeds = rows["seed"]
    return list(range(len(rows))) if seeds.isna().any() or seeds.duplicated().any() else [int(seed) for seed in seeds]
