"""Runs without a score, data, how to reproduce the report and how to read it."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from archbench.reports.base import declared, formatting, provenance
from archbench.reports.base.metrics import of_table
from archbench.reports.page.elements.grids import Column, plain
from archbench.reports.page.elements.parts import Note, Points, Section, Special, Table, Terms, of_tables, when
from archbench.reports.report import Report
from archbench.reports.results import draws
from archbench.reports.results.groups import is_checkpoint_as_is

LONGEST: Final = 2000  # letters of an error, or of a value of the environment


def _failures(report: Report) -> "Iterator[pd.Series[Any]]":
    """The runs that did not come to a score, or came with an error."""
    runs = report.tables["runs"]
    wrong = (runs["status"] != "done").fillna(True)
    if "error" in runs:
        wrong |= runs["error"].notna() & (runs["error"] != "").fillna(False)
    return (run for _, run in runs[wrong].iterrows())


def _examples(row: "pd.Series[Any]") -> str:
    sizes = {split: _float(row.get(f"{split}_examples")) for split in ("train", "validation", "test")}
    return "\n".join(f"{split} {formatting.count(size)}" for split, size in sizes.items() if math.isfinite(size))


def _float(value: Any) -> float:
    try:
        return math.nan if value is None or pd.isna(value) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _notes(value: Any) -> str:
    """The counts that a data set came with, a line each."""
    try:
        counts = json.loads(value)
    except (TypeError, ValueError):
        return plain(value)
    if not isinstance(counts, dict):
        return plain(value)
    return "\n".join(f"{str(key).replace('_', ' ')}: {count}" for key, count in counts.items() if count) or "none"


def _environment(report: Report) -> Iterator[tuple[str, str]]:
    """Facts on where the runs ran; where runs differ, each value with the number of its runs."""
    for key, values in report.tables["environment"].groupby("key", sort=False)["value"]:
        counts = values.value_counts(sort=False, dropna=True)
        several = "; ".join(f"{value} ({n} runs)" for value, n in counts.items())
        yield str(key), (str(counts.index[0]) if len(counts) == 1 else several)[:LONGEST]


def _architectures(report: Report) -> dict[str, list[str]]:
    """Name, family and description of each architecture; what an older record does not say is left out."""
    runs = report.tables["runs"]
    named = runs.dropna(subset=["architecture", "family"]).drop_duplicates("architecture")
    return {"": [_architecture(run) for _, run in named.iterrows()]}


def _architecture(run: "pd.Series[Any]") -> str:
    family = f" (family: {run['family']})" if run["family"] != run["architecture"] else ""
    description = f": {run['description']}" if pd.notna(run.get("description")) else ""
    return f"{run['architecture']}{family}{description}"


def _metrics(report: Report) -> Iterator[tuple[str, str]]:
    """Meaning of each metric, with its signature where the runs recorded one."""
    names = dict.fromkeys(name for group in report.comparisons.groups for name in report.comparisons.metrics(group))
    rows = report.tables["environment"].dropna(subset=["key", "value"])
    known = of_table(report.tables["metrics"])
    for measure in (known[name] for name in names):
        signatures = rows.loc[rows["key"] == f"{measure.name}_signature", "value"].unique()
        signed = f"; signature {formatting.listing(map(str, signatures))}" if len(signatures) else ""
        yield f"{measure.label} ({measure.direction})", f"{measure.meaning}{signed}."


FAILURES: Final = Section(
    "Runs without a score",
    name="failures",
    show=(
        Note("Failed, diverged and unfinished runs. The means exclude them.", look=""),
        Table(
            "failures",
            "Runs without a score",
            _failures,
            (
                Column("run", lambda run: plain(run["run"]), text=True),
                Column("status", lambda run: plain(run["status"]), text=True),
                Column("error", lambda run: plain(run.get("error"))[:LONGEST], text=True),
            ),
        ),
    ),
)
DATA: Final = Section(
    "Data",
    name="data",
    otherwise="No data set was recorded.",
    show=(
        Table(
            "data",
            "Data sets",
            lambda report: (row for _, row in report.tables["datasets"].iterrows()),
            (
                Column("data set", lambda row: plain(row["dataset"]), text=True),
                Column("kind", lambda row: plain(row["kind"]), text=True),
                Column("licence", lambda row: plain(row["licence"]), text=True),
                Column("origin", lambda row: plain(row["origin"]), text=True),
                Column(
                    "tokenizer",
                    lambda row: (
                        f"{plain(row.get('tokenizer'))}, {formatting.count(_float(row.get('vocabulary')))} tokens"
                    ),
                    text=True,
                ),
                Column("examples", _examples, text=True),
                Column(
                    "length limits in tokens",
                    lambda row: f"source {plain(row.get('source_length'))}, target {plain(row.get('target_length'))}",
                    text=True,
                ),
                Column("notes", lambda row: _notes(row.get("notes")), text=True),
            ),
            about=(
                "Examples: the number used. Notes: counts for the whole data set, before it is cut to that number.",
                of_tables(draws.sentence),
            ),
            holds="the data sets",
        ),
    ),
)
REPRODUCE: Final = Section(
    "Reproduce",
    name="reproduce",
    show=(
        Note(("Made by", lambda report: f"{provenance.of_tables(report.tables)}."), look=""),
        Special("command", lambda report: _stated(report, "command")),
        Note(
            "In the same folder, <code>archbench inspect RUN</code> builds a page about the model of one run: tokens, "
            "embeddings, attention heads, layers, and how training changed its answer."
        ),
        Note(
            when(
                lambda report: _stated(report, "specification"),
                'The experiment in full: <a href="experiment.json">experiment.json</a>.',
            ),
            look="",
        ),
        Table(
            "environment",
            "Environment",
            _environment,
            (Column("what", lambda fact: fact[0], text=True), Column("value", lambda fact: fact[1], text=True)),
            folded="Environment",
        ),
        Note(
            "The data behind this page are in <code>../tables/</code>, as Parquet and most also as CSV. The numbers of "
            "each figure are in the CSV file of the same name."
        ),
    ),
)


def _stated(report: Report, key: str) -> str:
    return declared.experiment(report.tables).get(key, "")


READING: Final = Section(
    "How to read this",
    name="reading",
    show=(
        Section(
            "Architectures",
            (
                Note(
                    "Models built from the shared components. <code>transformers:</code> marks a model of the "
                    "transformers library, with its own layers and initial weights.",
                    look="",
                ),
                Points(_architectures),
            ),
        ),
        Terms(
            {
                "pretrained": when(
                    lambda report: is_checkpoint_as_is(report.tables["runs"]).any(),
                    "A checkpoint trained elsewhere, on other data and another budget, and scored here without "
                    "training. It has its own tokenizer, so its windows of running text differ, and it may omit other "
                    "over-long examples (n is the number scored). The likelihood of every continuation includes END. "
                    "The score of a label is the mean logit of its name's tokens. Bits per byte are shown if its "
                    "tokens restore the text exactly.",
                ),
                "parameters": "Trainable parameters, excluding the token table, learned positions and the output "
                "matrix, which are the embedding parameters.",
                "training tokens": "Source and target tokens fed to the model. Included: the end token. Excluded: "
                "padding, and the empty positions after an encoder's target, which it also processes (training FLOPs "
                "count them). Tokens with loss are the tokens that the model is trained to predict.",
                "95% interval": "The interval of the mean over training seeds and, where the score of each test "
                "example was recorded, over test examples. It is a t interval from two variances: between seeds "
                "(pooled over architectures, except one with a much larger variance) and between examples. Corpus "
                "scores such as BLEU and macro F1 use jackknife pseudo-values.",
                "decided": "One architecture is better (two-sided test at 5%, corrected for all primary contrasts), or "
                "both are equal within the margin. Differences are paired on test examples, so two means with "
                "overlapping intervals can still be decided. If neither is shown, the pair is “not decided”.",
                "first condition": "The condition of the primary contrasts: the first budget that the experiment lists "
                "for a data set, with its default supervision and training recipe. Each further condition changes one "
                "or more of these.",
                "target supervision": "The loss is on the target alone. Native supervision is the usual loss of each "
                "family: a decoder also has a loss on its source, an encoder on masked positions of both.",
                "converged": "Doubling the budget (from half to all of it) changed the score by less than the margin.",
                "early training": "Fewer than five training tokens per parameter in at least one architecture. "
                "Training may be far from convergence, and the ranking of architectures may change.",
                "in miniature": "A verdict on a claim about larger models, most of them pretrained: whether its "
                "direction is seen at the size and on the tokens of this comparison. It says nothing about larger "
                "models.",
                "any-order bound": "The training loss of a masked model: the negative log-likelihood averaged over all "
                "orders in which tokens can be filled in. It is no bound on the left-to-right loss, which may be "
                "higher or lower and has its own column.",
                "simple baseline": "A method without a neural network on the same data. Most use the whole training "
                "split. Exceptions: the n-gram model uses its last 4 MB, unigram and bigram models its last 4 million "
                "tokens, and lzma 1 MB of it and the preceding test texts. Under a small budget, a model may read only "
                "part of the split.",
            },
            look="glossary",
            further=_metrics,
        ),
    ),
)
