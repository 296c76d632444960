"""One run from its plan to its record: what a worker process does, and the baselines of a data set."""

import csv
import io
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from archbench.architectures.catalogue import catalogue, shared_state
from archbench.architectures.components.stack import recompute_blocks
from archbench.architectures.objectives.objective import Objective
from archbench.runs.base import machine, store
from archbench.runs.base.messages import LogLine, Notify
from archbench.runs.base.plan import Plan
from archbench.runs.base.weights import packed
from archbench.runs.planning import budget
from archbench.runs.scoring import baselines, kept_outputs, task_metrics
from archbench.runs.scoring.score import Scored, Scorer, progress
from archbench.runs.training import from_plan, optimizer, weight_transfer
from archbench.runs.training.compiled import compile_blocks
from archbench.runs.training.ranks import ALONE, Ranks, launch
from archbench.runs.training.step import Trainer
from archbench.runs.training.train import EXACT_NLL, SAMPLED_NLL, TrainingLoop, TrainingState
from archbench.tasks.base import files, sealed
from archbench.tasks.base.values import Prepared, Score
from archbench.tasks.kinds import registry, task
from archbench.tasks.metrics import metrics

CURVES = ("run", "step", "tokens", "flops", "seconds", "split", "metric", "value")


def perform(plan: Plan, folder: Path, notify: Notify, stop: Callable[[], bool]) -> None:
    """Train and score the run of ``plan`` in ``folder``, resuming from a checkpoint there, if any.

    The record says "unfinished" until everything else is on disk. Raises ``Interrupted`` when ``stop()`` becomes true.
    A run of several devices has a process for each.
    """
    store.write_record(folder, {**plan.row(), "status": "unfinished"})
    if plan.devices > 1:
        ranked = f"{__name__}:perform_rank"
        launch(plan.devices, plan.device, ranked, (plan, folder), notify, stop)
    else:
        perform_rank(plan, folder, notify, stop)


def perform_rank(plan: Plan, folder: Path, notify: Notify, stop: Callable[[], bool], ranks: Ranks = ALONE) -> None:
    """What one of the processes that train a model does; only rank 0 writes into ``folder``."""
    machine.set_deterministic(plan.deterministic)
    machine.disable_cudnn_attention(plan.device)
    before = shared_state.snapshot()  # in every run: what it loads is part of the peak memory
    shared = before if plan.foreign else {}
    prepared = from_plan.prepared_data(plan)
    start = weight_transfer.load(folder.parent / plan.start, plan.start) if plan.start else None
    trainer = from_plan.new_trainer(plan, prepared, start, ranks)
    if plan.training.recompute:
        recompute_blocks(trainer.model)
    if plan.training.compile:
        compile_blocks(trainer.model, Path(plan.cache), lambda line: notify(LogLine(plan.run, line, everywhere=True)))
    machine.reset_peak_memory(plan.device)
    if plan.is_trained:
        state = TrainingLoop(plan, prepared, trainer, folder, notify, stop).run()
    else:
        trainer.around.finish(trainer.weights())
        state = TrainingState(best_validation_loss=math.nan)
    stop()  # ends this process, before it writes, if another has taken over its lease
    row = {
        **plan.row(),
        **_training_columns(plan, trainer, state),
        "peak_memory_bytes": machine.peak_memory_bytes(plan.device),
    }
    if ranks.is_main:
        _write_facts(plan, prepared, trainer, state, folder)
    if state.divergence:
        notify(LogLine(plan.run, f"diverged, which is a result: {state.divergence}"))
        row |= {"status": "diverged", "error": state.divergence}
    else:
        scorer = Scorer(trainer.model, prepared, plan.device, progress(plan.run, notify), stop, ranks)
        row |= {**_score_and_write(plan, scorer, folder, shared), "status": "done", "error": ""}
    if not ranks.is_main:
        return
    stop()  # as above
    store.write_record(folder, row)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    # What follows may run the user's code: a run stays finished where that fails. Baselines come after this run's
    # answers, as their untrained model is given the targets of the test split.
    task_metrics.score_by_kind(plan, prepared, folder.parent.parent)
    if plan.baselines:
        baselines.make(plan, prepared, folder.parent.parent, notify, stop)


def _score_and_write(
    plan: Plan, scorer: Scorer, folder: Path, shared: dict[shared_state.Place, object]
) -> dict[str, Any]:
    """Score the validation split and, except for a trial, the test split; returns what this adds to the run's row.

    ``shared`` is a snapshot of the shared code, taken before the variant's code ran.
    """
    validation = dict[str, Scored]()
    if len(scorer.prepared.validation):  # there may be nothing but texts to compare
        validation["validation"] = scorer.score(scorer.validation(), answering=False)
    if plan.trial:
        _check_shared_state(shared)
        if scorer.ranks.is_main:
            _write_scores(plan, validation, folder)
        return {}
    scored = scorer.with_decodings(scorer.with_shuffled(scorer.score(scorer.prepared.test)))
    _check_shared_state(shared)
    if not scorer.ranks.is_main:
        return {}
    _write_scores(plan, {"test": scored, **validation}, folder)
    _write_decodings(plan, scored, folder)
    _write_predictions(plan, scored, folder)
    if plan.kind_code:
        kept_outputs.write(folder, scored.outputs)
    _write_environment(plan, folder, scored.scores)
    return _scoring_columns(scored)


def _check_shared_state(before: dict[shared_state.Place, object]) -> None:
    """Fails the run if the variant's code changed shared code: its numbers would not be comparable."""
    changed = shared_state.changes(before)
    if changed:
        raise RuntimeError(f"while it trained, the variant's code changed {shared_state.listed(changed)}")


def _training_columns(plan: Plan, trainer: Trainer, state: TrainingState) -> dict[str, Any]:
    """The part of the row that training fills in."""
    tokens = state.position.tokens
    return {
        "train_flops": state.flops,
        **_flops_by_part(plan, trainer, state),
        "executed_flops": state.executed_flops,
        "optimizer_flops": optimizer.flops(trainer.model, plan.training.optimizer) * state.step,
        "train_tokens": tokens,
        "train_loss_tokens": round(state.loss_tokens),
        "steps": state.step,
        "train_seconds": state.seconds,
        "tokens_per_second": tokens / state.seconds if state.seconds else math.nan,
        "tokens_per_parameter": tokens / plan.counts.parameters,
        "epochs": tokens / (budget.data_tokens(trainer.data) or 1.0),
        "padding_fraction": 1 - tokens / state.padded_tokens if state.padded_tokens else 0.0,
        "micro_batches": state.micro_batches,
        "best_step": state.best_step,
        "validation_loss": state.best_validation_loss,
        "objective": _shares_in_words(plan.objective) or _objective_name(trainer.model.objective),
        "selected_by": SAMPLED_NLL if plan.sampled else EXACT_NLL,
    }


def _flops_by_part(plan: Plan, trainer: Trainer, state: TrainingState) -> dict[str, float]:
    """Training FLOPs in attention, feed-forward networks and the output matrix."""
    lengths = budget.sample_lengths(trainer.data)
    sample = trainer.model.objective.training_flops(trainer.model, *lengths, plan.native)
    rate = state.flops / (float(np.sum(sample.model)) or 1.0)
    return {f"{part}_flops": rate * float(np.sum(flops)) for part, flops in sample.parts.items()}


def _shares_in_words(objective: Mapping[str, float]) -> str:
    """The objective of a pretraining: "causal", or "prefix 0.5, span-corruption 0.5"; empty for a task."""
    if len(objective) == 1:
        return next(iter(objective))
    return ", ".join(f"{name} {share:g}" for name, share in objective.items())


def _objective_name(objective: Objective) -> str:
    """``causal``, ``masked``, or ``suffix`` if its masks give no bound on the likelihood."""
    if not objective.needs_pass_per_token:
        return "causal"
    return "masked" if objective.estimate_is_bound else "suffix"


def _scoring_columns(scored: Scored) -> dict[str, Any]:
    """The part of the row that scoring fills in; FLOPs and tokens are those of answering, from a cache."""
    speed = scored.generated_tokens / scored.generate_seconds if scored.generate_seconds else math.nan
    return {
        "score_seconds": scored.score_seconds,
        "generate_seconds": scored.generate_seconds,
        "generate_tokens_per_second": speed,
        "inference_flops": scored.inference_flops,
    }


def _write_facts(plan: Plan, prepared: Prepared, trainer: Trainer, state: TrainingState, folder: Path) -> None:
    """Everything needed to load the run again, and its curves."""
    sealed.write_json(folder / "plan.json", {"run": plan.run, **plan.to_json()})
    if catalogue.is_code(plan.variant):
        files.write_text(folder / "variant.py", plan.variant_text)
    files.write_text(folder / "tokenizer.json", prepared.tokenizer.to_json())
    sealed.write_json(
        folder / "task.json",
        {
            "run": plan.run,
            "kind": prepared.kind,
            **{key: getattr(registry.of(prepared.config), key) for key in ("form", "does")},
            "ends": prepared.ends,
            "answers": np.flatnonzero(prepared.allowed_tokens).tolist(),
            "decoding": asdict(task.decoding(prepared)),
        },
    )
    if plan.is_trained:  # other runs keep the weights that they start from
        files.write_bytes(folder / "model.safetensors", packed(trainer.model.state_dict(), plan.run))
    _write_environment(plan, folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, CURVES, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"run": plan.run, **point} for point in state.curves)
    files.write_text(folder / "curves.csv", text.getvalue())


def _write_environment(plan: Plan, folder: Path, scores: Iterable[Score] = ()) -> None:
    """Facts about the machine, and the libraries' settings for scores."""
    signed = metrics.signatures(score.metric for score in scores)
    facts = machine.environment(plan.device) | {f"{name}_signature": text for name, text in signed.items()}
    sealed.write_json(folder / "environment.json", {"run": plan.run, **facts, "numerics": str(plan.numerics)})


def _write_scores(plan: Plan, splits: Mapping[str, Scored], folder: Path) -> None:
    named = [(split, score) for split, scored in splits.items() for score in scored.scores]
    rows = [{"run": plan.run, "split": split, **_score_row(score)} for split, score in named]
    sealed.write_json(folder / "scores.json", rows)


def _score_row(score: Score) -> dict[str, Any]:
    return {key: value for key, value in asdict(score).items() if key != "per_example"}


def _write_decodings(plan: Plan, scored: Scored, folder: Path) -> None:
    rows = [
        {"run": plan.run, "decoding": way.decoding, **_score_row(score), "flops": way.flops, "seconds": way.seconds}
        for way in scored.decoded
        for score in way.scores
    ]
    if rows:
        sealed.write_json(folder / "decodings.json", rows)


def _write_predictions(plan: Plan, scored: Scored, folder: Path) -> None:
    table = pa.Table.from_pandas(_predictions(scored), preserve_index=False)
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "run": plan.run}), file)
    files.write_bytes(folder / "predictions.parquet", file.getvalue())


def _predictions(scored: Scored) -> pd.DataFrame:
    """One row per example, with what it contributes to each score that does not follow from the row.

    If the number of answers is limited, only the first rows have answers and their scores. Likelihoods with another
    example's source also exist for the first rows only.
    """
    outputs = scored.outputs
    n = len(outputs.references)
    answers: list[str | None] = [*outputs.answers, *[None] * (n - len(outputs.answers))]
    correct = [answer == wanted for answer, wanted in zip(outputs.answers, outputs.references, strict=False)]
    kept = [score for score in scored.scores if score.per_example]
    by_metric = {score.metric: pd.Series(score.per_example, dtype="float64").reindex(range(n)) for score in kept}
    exchanged = pd.Series(-scored.shuffled_nats, dtype="float64").reindex(range(n))
    return pd.DataFrame(
        {
            "example": np.arange(n),
            "source": list(outputs.sources),
            "reference": list(outputs.references),
            "answer": pd.Series(answers, dtype="str"),
            "log_likelihood": -outputs.nats,
            "correct": pd.Series(correct, dtype="boolean").reindex(range(n)),
            "bytes": outputs.bytes,
            **by_metric,
            **({"log_likelihood_shuffled": exchanged} if len(scored.shuffled_nats) else {}),
        }
    )
