"""The opening paragraph of a page: what was compared, under which budget and how."""

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.tables import Tables
from archbench.reports.page.elements import grids
from archbench.reports.results.groups import is_checkpoint_as_is, is_started_elsewhere, placed
from archbench.reports.results.place import MATCHES, SUPERVISION
from archbench.runs.experiment.spec import SCRATCH, is_scratch

KEPT = {"best": "the checkpoint with the lowest validation loss", "last": "the weights of the last step"}


def paragraph(tables: Tables) -> str:
    """A few sentences on what was compared under which budget."""
    runs = placed(tables, "compared")
    checkpoints = list(runs.loc[is_checkpoint_as_is(runs), "architecture"].dropna().unique())
    trained = _trained_runs(tables)
    sentences = [_trained(trained), *_budget_sentences(trained)] if trained["architecture"].notna().any() else []
    if checkpoints:
        several = len(checkpoints) > 1
        which = f"{len(checkpoints)} pretrained checkpoint{'s' * several} ({formatting.listing(checkpoints)})"
        sentences.append(
            f"{which} {'were' if several else 'was'} scored without training, with {'their' if several else 'its'} own "
            "tokenizer: under another budget, and not part of the comparison."
        )
    sentences += filter(None, [elsewhere(tables)])
    return " ".join(sentences) or "No run has been recorded yet."


def line(tables: Tables) -> str:
    """Size, tokens and seeds of what was compared, in one line; empty where nothing was trained."""
    runs = _trained_runs(tables)
    if runs["architecture"].isna().all():
        return ""
    before = _pretraining_tokens(runs)
    units = {
        "target_parameters": "non-embedding parameters",
        "target_tokens": "training tokens" + " per task" * bool(before),
    }
    planned = [f"{grids.span(runs, key)} {unit}" for key, unit in units.items() if grids.known(runs, key)]
    begin = f"{_from(runs)} on {before} tokens" if before else _from(runs)
    return f"Trained {begin}: {', '.join([*planned, _seeds_each(runs)])}."


def elsewhere(tables: Tables) -> str:
    """A sentence about the checkpoints that were finetuned; empty where there are none."""
    runs = placed(tables, "compared")
    names = list(runs.loc[is_started_elsewhere(runs), "architecture"].dropna().unique())
    if not names:
        return ""
    several = len(names) > 1
    are = "are checkpoints" if several else "is a checkpoint"
    return (
        f"{formatting.listing(names)} {are} of transformers, trained elsewhere and finetuned here: "
        f"{'their' if several else 'its'} earlier training is in no budget."
    )


def _trained_runs(tables: Tables) -> pd.DataFrame:
    """The compared runs that were trained here, without checkpoints of ``transformers``."""
    runs = placed(tables, "compared")
    return runs[~is_checkpoint_as_is(runs) & ~is_started_elsewhere(runs)]


def _seeds_each(runs: pd.DataFrame) -> str:
    seeds = runs.groupby(["dataset", "architecture"])["seed"].nunique()
    times = f"{seeds.min()} to {seeds.max()}" if seeds.min() != seeds.max() else f"{seeds.min()}"
    return f"{times} seed{'s' if seeds.max() > 1 else ''} each"


def _trained(runs: pd.DataFrame) -> str:
    names, sets = list(runs["architecture"].dropna().unique()), list(runs["dataset"].dropna().unique())
    kinds = formatting.listing(sorted(runs["task"].dropna().unique()))
    compared = f"{len(names)} architecture{'s' * (len(names) > 1)} ({formatting.listing(names)})"
    return (
        f"{compared}, trained {_from(runs)} on {len(sets)} data set{'s' * (len(sets) > 1)} ({kinds}) with "
        f"{_seeds_each(runs)} and scored on the test split."
    )


def _from(runs: pd.DataFrame) -> str:
    """Words for what runs start from."""
    starts = set(runs["start"].fillna(SCRATCH)) if "start" in runs else {SCRATCH}
    words = ["from scratch"] * any(map(is_scratch, starts))
    return " and ".join(words + ["after pretraining"] * (not all(map(is_scratch, starts))))


def _pretraining_tokens(runs: pd.DataFrame) -> str:
    """Planned tokens of the pretrainings that runs start from, their minimum to maximum; empty without any."""
    if not {"start", "pretraining_tokens"} <= set(runs):
        return ""
    started = runs[~runs["start"].fillna(SCRATCH).map(is_scratch).astype(bool) & (runs["pretraining_tokens"] > 0)]
    return grids.span(started, "pretraining_tokens") if len(started) else ""


def _budget_sentences(runs: pd.DataFrame) -> list[str]:
    sentences = []
    matches = [MATCHES.get(match, match) for match in runs["match"].dropna().unique()]
    if matches:
        sizes = {
            "target_parameters": "non-embedding parameters",
            "target_tokens": "training tokens",
            "target_loss_tokens": "tokens with a loss",
        }
        aims = [f"{grids.span(runs, key)} {unit}" for key, unit in sizes.items() if grids.known(runs, key)]
        if before := _pretraining_tokens(runs):
            aims.append(f"{before} tokens of pretraining")
        sentences.append(f"Budget: {'; also '.join(matches)}.")
        sentences += [f"Planned: {formatting.listing(aims)}."] if aims else []
    if "supervision" in runs:
        modes = [f"{mode} ({SUPERVISION.get(mode, mode)})" for mode in runs["supervision"].dropna().unique()]
        sentences += [f"Supervision: {formatting.listing(modes)}."] if modes else []
    return [*sentences, *_recipe(runs)]


def _recipe(runs: pd.DataFrame) -> list[str]:
    """The optimizer, the batch and the scored checkpoint, as far as the runs record them."""
    sentences = []
    if {"optimizer", "batch_tokens", "precision"} <= set(runs) and grids.known(runs, "batch_tokens"):
        used = [runs[key].dropna().astype(str).unique() for key in ("optimizer", "precision")]
        optimizers, precisions = map(formatting.listing, map(sorted, used))
        batch = grids.span(runs, "batch_tokens")
        sentences.append(f"Optimizer: {optimizers}, batches of {batch} tokens, {precisions}.")
    if grids.known(runs, "best_step") and grids.known(runs, "steps"):
        done = runs.dropna(subset=["best_step", "steps"])
        parts = done["best_step"].astype(float) / done["steps"].astype(float)
        ends = dict.fromkeys(f"{part:.0%}" for part in (parts.min(), parts.max()))
        kept = done["keep"].fillna("best") if "keep" in done else pd.Series(["best"])
        scored = " or ".join(KEPT[how] for how in sorted(kept.unique()))
        sentences.append(f"Scored: {scored}, after {' to '.join(ends)} of the steps.")
    if grids.known(runs, "pretrained_share"):
        part = grids.span(runs, "pretrained_share", "{:g}".format)
        sentences.append(f"After pretraining, runs begin with {part} of its weights and the rest of new ones.")
    return sentences
