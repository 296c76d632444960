"""The trials of tuning: settings tried, settings chosen, cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base.declared import entered
from archbench.reports.base.tables import Tables
from archbench.reports.results.gates import NLL_PER_TOKEN, bars_per_token
from archbench.reports.results.groups import ROLES, placed
from archbench.reports.results.place import MATCHES
from archbench.runs.planning import rate_choice
from archbench.runs.planning.rate_choice import Regret

PLACE: Final = ["dataset", "match", "condition", "variant"]
FLAT: Final = 0.01  # trials whose losses differ by less than this part of them do not distinguish the settings


@dataclass(frozen=True)
class Trial:
    """A point of the grid: the mean validation loss over its seeds, nan where training diverged or failed.

    ``losses`` are those of the single seeds.
    """

    dataset: str
    condition: str
    architecture: str
    learning_rate: float
    dropout: float
    loss: float
    seeds: int
    chosen: bool
    edge: bool
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Cost:
    """The cost of a data set's trials beside that of the reported runs."""

    dataset: str
    trials: int
    flops: float
    seconds: float
    reported_flops: float


@dataclass(frozen=True)
class TunedSetting:
    """The setting chosen by an architecture's trials: that of the reported runs; without such runs, the present choice.

    ``trials`` are their number, ``loss`` is that of the setting by the fit or the mean of its trials, and ``examples``
    how many validation examples gave exact likelihoods (0 where the losses of training are exact). ``now`` is the rate
    that the rule chooses from these trials where another was taken (nan elsewhere); ``kept`` is true where it is the
    one of the first condition, which has the same trials. ``lowest`` and ``highest`` are the mean losses of the best
    and the worst setting that was tried. The reported runs train at ``factor`` times the rate: the square root of the
    trials' share of their tokens. ``learned`` is false where no trial is better than a classical method.
    """

    dataset: str
    condition: str
    architecture: str
    trials: int
    learning_rate: float
    dropout: float
    loss: float
    edge: bool
    fitted: bool
    examples: int
    regret: Regret | None
    now: float = math.nan
    kept: bool = False
    lowest: float = math.nan
    highest: float = math.nan
    factor: float = 1.0
    learned: bool = True

    @property
    def flat(self) -> bool:
        """True if the losses of all settings are so close that the trials say nothing about the rate."""
        return self.highest - self.lowest < FLAT * abs(self.lowest)


@dataclass(frozen=True)
class ChosenVariant:
    """The variant or form that trials chose for an architecture with alternatives."""

    dataset: str
    condition: str
    architecture: str
    variant: str

    @property
    def words(self) -> str:
        """The variant, or the form “END fills” of the architecture itself."""
        form = self.variant.removeprefix(f"{self.architecture}, ")
        return self.variant if form == self.variant else f"“{form}”"


@dataclass(frozen=True)
class TriedForm:
    """A form of an architecture on a data set where trials chose among forms; without alternatives it has one.

    ``share`` is the part of a reported run's tokens that a trial read. ``loss`` is exact, in nats per target token of
    ``examples`` validation examples, at the best setting; nan where no trial gave one. ``chosen``: it is compared.
    """

    dataset: str
    condition: str
    architecture: str
    form: str
    trials: int
    share: float
    loss: float
    examples: int
    chosen: bool


@dataclass(frozen=True)
class NoTuning:
    """An architecture none of whose trials learned: none has a loss below ``bar``, that of the baseline ``name``.

    ``lowest`` is the lowest loss of a trial; nan where none improved on the untrained model. ``bar`` is infinite, and
    ``name`` empty, where the baseline is not known.
    """

    dataset: str
    condition: str
    architecture: str
    lowest: float
    bar: float
    name: str


Key = tuple[str, str, str]  # data set, condition, architecture


def trials(tables: Tables, settings_known: Sequence[TunedSetting] | None = None) -> list[Trial]:
    """Every point that was tried, by data set, condition and architecture, rates ascending.

    Chosen is what the reported runs took; before there are any, what the trials choose. ``settings_known`` are those of
    `settings`, where they were computed before.
    """
    known = settings(tables) if settings_known is None else settings_known
    chosen = {(tuned.dataset, tuned.condition, tuned.architecture): tuned for tuned in known}
    grid_points = []
    for key, rows in _tried(tables):
        tried = rows.groupby(["dropout", "learning_rate"], as_index=False)
        setting = chosen.get(key)
        points = tried.agg(loss=("loss", _mean_of_all), seeds=("run", "size"), losses=("loss", tuple))
        for _, row in points.iterrows():
            rate, dropout, loss = (float(row[name]) for name in ("learning_rate", "dropout", "loss"))
            taken = setting is not None and (rate, dropout) == (setting.learning_rate, setting.dropout)
            edge = taken and setting is not None and setting.edge
            losses = tuple(map(float, row["losses"]))
            grid_points.append(Trial(*key, rate, dropout, loss, int(row["seeds"]), taken, edge, losses))
    return grid_points


def settings(tables: Tables) -> list[TunedSetting]:
    """Settings that the trials of each architecture chose, by data set and condition."""
    tried = dict(_tried(tables))
    untuned = _learned_nothing(tables, tried)
    reported = {key: rows[rows["loss"].notna()] for key, rows in _by_place(tables, "compared")} if tried else {}
    chosen: list[TunedSetting] = []
    for key, rows in tried.items():
        setting = _setting(key, rows, reported.get(key))
        if setting is not None:
            first = next(
                (earlier for earlier in chosen if (earlier.dataset, earlier.architecture) == (key[0], key[2])), None
            )
            shared = first is not None and not set(tried[key[0], first.condition, key[2]]["run"]).isdisjoint(
                rows["run"]
            )
            same = first is not None and first.learning_rate == setting.learning_rate
            kept = math.isfinite(setting.now) and shared and same
            chosen.append(replace(setting, kept=kept, learned=key not in untuned))
    return chosen


def chosen_variants(tables: Tables) -> list[ChosenVariant]:
    """Variants that trials, in this experiment or earlier ones, chose for each architecture with alternatives.

    By data set and condition.
    """
    candidates = _candidates(tables)
    return [
        ChosenVariant(dataset, condition, name, str(rows["variant"].iloc[0]))
        for (dataset, condition, name), rows in _compared(tables)
        if (dataset, name) in candidates
    ]


def forms_in_use(tables: Tables, dataset: str) -> dict[str, str]:
    """The variant or form that stands for each architecture under the first condition, where that is another one."""
    return {
        one.architecture: one.words
        for one in chosen_variants(tables)
        if one.dataset == dataset and not one.condition and one.variant != one.architecture
    }


def form_counts(tables: Tables, dataset: str, architectures: Sequence[str]) -> dict[str, int]:
    """The number of variants and forms among which trials chose for each architecture; 1 without alternatives."""
    candidates = _candidates(tables)
    return {name: len(candidates.get((dataset, name), [name])) for name in architectures}


def forms(tables: Tables) -> list[TriedForm]:
    """Every form of every architecture, where trials chose among the forms of at least one of them."""
    candidates, tried = _candidates(tables), placed(tables, "trial")
    chosen_on = {dataset for dataset, _ in candidates}
    tried = last(tried[tried["dataset"].isin(chosen_on)])
    tried = tried.assign(condition=_conditions(tables, tried))
    losses = _validation_losses(tables, tried)
    groups = {key: rows for key, rows in tried.groupby(["dataset", "condition", "variant"], sort=False)}
    under = {(dataset, condition) for dataset, condition, _ in groups}
    found = []
    for (dataset, condition, name), rows in _compared(tables):
        for form in candidates.get((dataset, name), [name]) if (dataset, condition) in under else []:
            own = groups.get((dataset, condition, form), tried.iloc[:0])
            loss, examples = losses.get((dataset, condition, form), (math.nan, 0))
            share = float(own["planned_tokens"].median()) / float(rows["planned_tokens"].median())
            is_chosen = form == rows["variant"].iloc[0]
            found.append(TriedForm(dataset, condition, name, form, len(own), share, loss, examples, is_chosen))
    return found


def _candidates(tables: Tables) -> dict[tuple[str, str], list[str]]:
    """The names of what trials choose among, by data set and architecture, where that is more than one."""
    return {
        (str(task.get("name")), _variant(name)): [_variant(name), *(_candidate(name, entry) for entry in others)]
        for task in entered(tables, "tasks")
        for name, others in (task.get("alternatives") or {}).items()
    }


def _candidate(architecture: str, entry: str | Mapping[str, Any]) -> str:
    """Name in trials of an entry of ``alternatives`` of an architecture."""
    if isinstance(entry, str):
        return _variant(entry)
    return f"{_variant(entry.get('variant') or architecture)}, {entry['name']}"


def _variant(named: str) -> str:
    return PurePath(named).stem.replace("_", "-") if named.endswith(".py") else named


def _compared(tables: Tables) -> Iterator[tuple[Key, pd.DataFrame]]:
    """The compared runs by data set, condition and architecture."""
    compared = placed(tables, "compared")
    compared = compared.assign(condition=_conditions(tables, compared))
    for key, rows in compared.groupby(["dataset", "condition", "architecture"], sort=False):
        dataset, condition, name = map(str, key)
        yield (dataset, condition, name), rows


def _validation_losses(tables: Tables, tried: pd.DataFrame) -> dict[Key, tuple[float, int]]:
    """The exact validation loss of each candidate at its best setting, by the rule that planned the runs.

    With the number of examples that it is of.
    """
    scores = tables["scores"]
    exact = scores[((scores["split"] == "validation") & (scores["metric"] == NLL_PER_TOKEN)).fillna(False)]
    exact = exact.drop_duplicates("run").set_index("run")
    tried = tried.assign(n=tried["run"].map(exact["n"]).fillna(0).astype(int) if "n" in exact else 0)
    losses = tried["run"].map(exact["value"]).astype(float).where(_gave_loss(tried)).fillna(math.inf)
    found: dict[Key, tuple[float, int]] = {}
    for key, rows in tried.assign(loss=losses).groupby(["dataset", "condition", "variant"], sort=False):
        if (choice := rate_choice.choose(_by_setting(rows))) is not None:
            dataset, condition, candidate = map(str, key)
            found[dataset, condition, candidate] = choice.loss, int(rows["n"].max())
    return found


def _setting(key: Key, rows: pd.DataFrame, reported: pd.DataFrame | None) -> TunedSetting | None:
    """Setting that the trials in ``rows`` chose, and its regret; None where they chose nothing."""
    losses, examples = _by_setting(rows.sort_values("seed")), int(rows["examples"].max())
    rule = rate_choice.choose(losses)
    if rule is None:
        return None
    taken, spread = _reported(reported, bool(examples)) if reported is not None else (None, (0.0, 0))
    rate, dropout = taken or (rule.learning_rate, rule.dropout)
    same = (rate, dropout) == (rule.learning_rate, rule.dropout)
    loss = rule.loss if same else float(np.mean(losses.get((rate, dropout), [math.nan])))
    rates, dropouts = ({point[index] for point in losses} for index in (0, 1))
    edge = rate in (min(rates), max(rates)) or dropout == max(dropouts) > min(dropouts)
    regret, now = rate_choice.regret(losses, spread), math.nan if same else rule.learning_rate
    means = [float(np.mean(values)) for values in losses.values() if np.isfinite(values).all()]
    return TunedSetting(
        *key,
        len(rows),
        rate,
        dropout,
        loss,
        edge,
        same and rule.fitted,
        examples,
        regret,
        now,
        lowest=min(means),
        highest=max(means),
        factor=_factor(reported),
    )


def _factor(reported: pd.DataFrame | None) -> float:
    """Factor from the rate of the trials to that of the reported runs, of whose tokens the trials had a share."""
    if reported is None or "proxy_share" not in reported:
        return 1.0
    shares = reported["proxy_share"].dropna().astype(float)
    return math.sqrt(shares.iloc[0]) if len(shares) else 1.0


def _reported(rows: pd.DataFrame, exact: bool) -> tuple[tuple[float, float] | None, tuple[float, int]]:
    """The setting of the reported runs, if they have one, and the spread of their losses.

    That is a sum of squares and its degrees of freedom; none where their losses are of another kind than the trials'.
    """
    settings = set(zip(rows["learning_rate"].astype(float), rows["dropout"], strict=True))
    if len(settings) != 1:
        return None, (0.0, 0)
    losses = rows.drop_duplicates("run")["loss"].to_numpy(dtype=float)
    if bool(rows["examples"].max()) != exact:
        return settings.pop(), (0.0, 0)
    return settings.pop(), (float(((losses - losses.mean()) ** 2).sum()), len(losses) - 1)


def _tried(tables: Tables) -> Iterator[tuple[Key, pd.DataFrame]]:
    return _by_place(tables, "trial")


def _by_place(tables: Tables, role: str) -> Iterator[tuple[Key, pd.DataFrame]]:
    """The runs in a role by data set, condition and architecture, with the loss that rates are chosen by.

    It is nan where training diverged or failed, and where a trial never improved on the untrained model. Exact
    likelihoods are those of ``examples`` validation examples; elsewhere ``examples`` is 0.
    """
    runs = last(placed(tables, role)) if role == "trial" else placed(tables, role)
    if runs.empty or "validation_loss" not in runs:
        return
    done = _gave_loss(runs) if role == "trial" else (runs["status"] == "done").fillna(False).astype(bool)
    runs = runs.assign(dropout=runs["dropout"].astype(float).fillna(0.0) if "dropout" in runs else 0.0)
    runs = runs.assign(condition=_conditions(tables, runs), loss=runs["validation_loss"].astype(float).where(done))
    exact = _exact(tables)
    runs = runs.assign(exact=runs["run"].map(exact["value"]), number=runs["run"].map(exact["n"]).where(done).fillna(0))
    for key, rows in runs.groupby(["dataset", "condition", "variant"], sort=False):
        losses, are_exact = rate_choice.deciding(rows["loss"].tolist(), rows["exact"].astype(float).tolist())
        dataset, condition, architecture = map(str, key)
        examples = rows["number"] if are_exact else 0
        yield (dataset, condition, architecture), rows.assign(loss=losses, examples=examples)


def _by_setting(rows: pd.DataFrame) -> dict[tuple[float, float], list[float]]:
    return rate_choice.by_setting(zip(rows["learning_rate"], rows["dropout"], strict=True), rows["loss"])


def _gave_loss(runs: pd.DataFrame) -> "pd.Series[bool]":
    steps = runs["best_step"].astype(float) if "best_step" in runs else [math.nan] * len(runs)
    given = [rate_choice.gave_loss(*row) for row in zip(runs["status"].fillna(""), steps, strict=True)]
    return pd.Series(given, index=runs.index, dtype=bool)


def last(tried: pd.DataFrame) -> pd.DataFrame:
    """The trials that decide: those on the most tokens, where they were repeated."""
    tried = tried.assign(share=tried["share"].astype(float).fillna(1.0))
    most = tried.groupby(PLACE, dropna=False)["share"].transform("max")
    return tried[tried["share"] == most]


def repeated(tables: Tables) -> dict[tuple[str, str], list[float]]:
    """The shares of the tokens on which trials were repeated, ascending, by data set and condition."""
    tried = placed(tables, "trial")
    places = tried.assign(condition=_conditions(tables, tried)).groupby(["dataset", "condition", "variant"], sort=False)
    shares = {(str(dataset), str(under)): sorted(set(rows["share"]))[1:] for (dataset, under, _), rows in places}
    return {key: more for key, more in shares.items() if more}


def without_tuning(tables: Tables) -> list[NoTuning]:
    """The variants none of whose trials learned, in any form, where all have ended."""
    tried = dict(_tried(tables))
    nothing = _learned_nothing(tables, tried)
    by_variant: dict[Key, list[Key]] = {}
    for key, rows in tried.items():
        by_variant.setdefault((*key[:2], str(rows["entered"].iloc[0])), []).append(key)
    return [
        replace(min((nothing[key] for key in keys), key=lambda one: one.lowest), architecture=variant)
        for (_, _, variant), keys in by_variant.items()
        if all(key in nothing for key in keys)
    ]


def _learned_nothing(tables: Tables, tried: Mapping[Key, pd.DataFrame]) -> dict[Key, NoTuning]:
    """Entries of ``tried`` that learned nothing in any trial, where all have ended."""
    bars, found = _bars(tables), dict[Key, NoTuning]()
    for key, rows in tried.items():
        bar, name = bars.get(key[0], (math.inf, ""))
        if rows["status"].notna().all() and not rate_choice.learned(rows["loss"], bar):
            found[key] = NoTuning(*key, float(rows["loss"].min()), bar, name)
    return found


def _bars(tables: Tables) -> dict[str, tuple[float, str]]:
    """By data set, the nats per token that a trial has to beat, and the baseline that has them, on validation.

    Older tables have no baselines on validation: there the bar is that of the gates, on the test split.
    """
    rows = tables["references"]
    rows = rows[((rows["split"] == "validation") & (rows["metric"] == NLL_PER_TOKEN)).fillna(False)]
    measured = {str(row["dataset"]): (float(row["value"]), str(row["name"])) for _, row in rows.iterrows()}
    return bars_per_token(tables) | measured


def _exact(tables: Tables) -> pd.DataFrame:
    """The exact nats per token on validation, and of how many examples, of runs whose training only estimates them."""
    curves, scores = tables["curves"], tables["scores"]
    validated = (curves["split"] == "validation").fillna(False)
    estimated = set(curves["run"][validated & (curves["metric"] != NLL_PER_TOKEN).fillna(False)])
    wanted = (
        (scores["split"] == "validation") & (scores["metric"] == NLL_PER_TOKEN) & scores["run"].isin(list(estimated))
    )
    return scores[wanted.fillna(False)].drop_duplicates("run").set_index("run")[["value", "n"]].astype(float)


def _conditions(tables: Tables, runs: pd.DataFrame) -> list[str]:
    """Each run's condition in words, with the axis where it is not the data set's first."""
    compared = placed(tables, "compared")
    axes = dict(reversed(list(zip(compared["dataset"], compared["match"], strict=True))))
    rows = zip(runs["dataset"], runs["match"], runs["condition"].fillna(""), strict=True)
    return [
        "; ".join(filter(None, ("" if match == axes.get(dataset, match) else MATCHES.get(match, match), name)))
        for dataset, match, name in rows
    ]


def _mean_of_all(losses: "pd.Series[float]") -> float:
    """The mean; nan where a trial of the point gave no loss."""
    return float(losses.mean(skipna=False))


def costs(tables: Tables) -> list[Cost]:
    """The cost of tuning by data set."""
    tried = placed(tables, "trial")
    reported = pd.concat([placed(tables, role) for role in ROLES], ignore_index=True)
    tried = tried[tried["train_flops"].notna()]
    by_dataset = []
    for dataset, rows in tried.drop_duplicates(["dataset", "run"]).groupby("dataset", sort=False):
        rest = reported[(reported["dataset"] == dataset).fillna(False)].drop_duplicates("run")
        flops, seconds = (float(rows[key].astype(float).sum()) for key in ("train_flops", "train_seconds"))
        by_dataset.append(Cost(str(dataset), len(rows), flops, seconds, float(rest["train_flops"].astype(float).sum())))
    return by_dataset


def numbers(tried: Sequence[Trial], chosen: Sequence[TunedSetting]) -> pd.DataFrame:
    """The trials as a table: a row for each point, with what its architecture chose and the regret of the choice."""
    by_place = {(setting.dataset, setting.condition, setting.architecture): setting for setting in chosen}
    rows = [vars(trial) | _outcome(by_place.get(_place(trial))) for trial in tried]
    return pd.DataFrame(rows).drop(columns="losses", errors="ignore")


def _place(trial: Trial) -> Key:
    return trial.dataset, trial.condition, trial.architecture


def _outcome(setting: TunedSetting | None) -> dict[str, float]:
    regret = setting.regret if setting else None
    return {
        "chosen_rate": setting.learning_rate if setting else math.nan,
        "chosen_dropout": setting.dropout if setting else math.nan,
        "exact_examples": setting.examples if setting else 0,
        "expected_regret": regret.expected if regret else math.nan,
        "regret_lower": regret.lower if regret else math.nan,
        "regret_upper": regret.upper if regret else math.nan,
        "seed_sd": regret.seed_sd if regret else math.nan,
    }
