"""One run from its plan to its record: what a worker process does, and the baselines of a data set."""

import csv
import io
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.stack import recompute_blocks
from archbench.architectures.objectives.objective import Objective
from archbench.runs.budgets import budget
from archbench.runs.machine import machine
from archbench.runs.machine.own_process import OwnProcess
from archbench.runs.plans.messages import LogLine, Notify
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import baselines, kept_outputs, task_metrics
from archbench.runs.scoring.score import Predictions, Predictor, Scored, progress, scored, validation
from archbench.runs.store import store
from archbench.runs.store.weights import packed
from archbench.runs.training import from_plan, goal, weight_transfer
from archbench.runs.training.compiled import compile_blocks
from archbench.runs.training.step import Trainer
from archbench.runs.training.train import EXACT_NLL, SAMPLED_NLL, TrainingLoop, TrainingState
from archbench.runs.updates import optimizer
from archbench.runs.updates.ranks import ALONE, Ranks, launch
from archbench.tasks.base import files, sealed
from archbench.tasks.base.dataset import SPLITS
from archbench.tasks.base.values import Prepared, Score
from archbench.tasks.kinds import registry, task
from archbench.tasks.metrics import metrics

ENVIRONMENT = "environment.json"
CURVES = ("run", "step", "tokens", "flops", "seconds", "split", "metric", "value")


@dataclass(frozen=True)
class Trained:
    """Results of a run from its model: columns of its row, and predictions by split; none of texts is scored yet.

    ``divergence`` says why there are none.
    """

    columns: dict[str, Any]
    predictions: dict[str, Predictions]
    divergence: str = ""


def perform(plan: Plan, folder: Path, notify: Notify, stop: Callable[[], bool]) -> None:
    """Train and score the run of ``plan`` in ``folder``, resuming from a checkpoint there, if any.

    The record says "unfinished" until everything else is on disk. Raises ``Interrupted`` when ``stop()`` becomes true.
    This process imports no user's variant: its texts are scored here.
    """
    store.write_record(folder, {**plan.row(), "status": "unfinished"})
    trained = _trained(plan, folder, notify, stop)
    stop()  # ends this process, before it writes, if another has taken over its lease
    prepared = from_plan.prepared_data(plan)
    row = {**plan.row(), **trained.columns, "run": plan.run, **plan.labels()}
    if trained.divergence:
        notify(LogLine(plan.run, f"diverged, which is a result: {trained.divergence}"))
        row |= {"status": "diverged", "error": trained.divergence}
    else:
        row |= {**_score_and_write(plan, prepared, trained.predictions, folder), "status": "done", "error": ""}
    stop()  # as above
    store.write_record(folder, row)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    # What follows may run the user's code: a run stays finished where that fails. Baselines come after this run's
    # answers, as their untrained model is given the targets of the test split.
    task_metrics.score_by_kind(plan, prepared, folder.parent.parent)
    if plan.baselines:
        baselines.make(plan, prepared, folder.parent.parent, notify, stop)


def _trained(plan: Plan, folder: Path, notify: Notify, stop: Callable[[], bool]) -> Trained:
    """The result of ``train``: in this process, for a user's variant in one of its own, or in one for each device."""
    call, trained = f"{__name__}:train", Trained({}, {})
    if plan.devices > 1:
        trained = launch(plan.devices, plan.device, call, (plan, folder), notify, stop)
    elif plan.foreign:
        with OwnProcess() as process:
            trained = process.call(call, plan, folder, notify=notify, stop=stop)
    else:
        trained = train(plan, folder, notify, stop)
    return trained


def train(plan: Plan, folder: Path, notify: Notify, stop: Callable[[], bool], ranks: Ranks = ALONE) -> Trained:
    """Trains the model of a run and asks it for predictions.

    Of several processes that train a model only rank 0 writes into ``folder``: what it takes to load the model again.
    """
    machine.set_deterministic(plan.deterministic)
    machine.disable_cudnn_attention(plan.device)
    prepared = from_plan.prepared_data(plan)
    start = weight_transfer.load(folder.parent / plan.start, plan.start) if plan.start else None
    trainer = from_plan.new_trainer(plan, prepared, start, ranks)
    if plan.training.recompute:
        recompute_blocks(trainer.model)
    if plan.training.compile:
        compile_blocks(trainer.model, Path(plan.cache), lambda line: notify(LogLine(plan.run, line, everywhere=True)))
    metrics.load_libraries()  # in every run: what its process has loaded is part of its peak memory
    machine.reset_peak_memory(plan.device)
    if plan.is_trained:
        state = TrainingLoop(plan, prepared, trainer, folder, notify, stop).run()
    else:
        trainer.around.finish(trainer.weights())
        state = TrainingState(best_validation_loss=math.nan)
    stop()  # as above
    columns = {
        **_training_columns(plan, trainer, state),
        **({goal.COLUMN: state.goal_tokens} if goal.has_goal(plan, prepared) else {}),
        "peak_memory_bytes": machine.peak_memory_bytes(plan.device),
    }
    if ranks.is_main:
        _write_facts(plan, prepared, trainer, state, folder)
    if state.divergence:
        return Trained(columns, {}, state.divergence)
    return Trained(columns, _predictions(plan, trainer.model, prepared, notify, stop, ranks))


def _predictions(
    plan: Plan, model: Any, prepared: Prepared, notify: Notify, stop: Callable[[], bool], ranks: Ranks
) -> dict[str, Predictions]:
    """Predictions for the validation split and, except for a trial, the test split."""
    predictor = Predictor(model, prepared, plan.device, progress(plan.run, notify), stop, ranks)
    made = dict[str, Predictions]()
    if len(prepared.validation):  # there may be nothing but texts to compare
        made["validation"] = predictor.predict(predictor.validation(), answering=False)
    if not plan.trial:
        test = predictor.predict(prepared.test)
        made["test"] = predictor.with_rounds(predictor.with_shuffled(test))
        made |= {name: predictor.predict(examples) for name, examples in prepared.slices.items()}
    return made


def _score_and_write(
    plan: Plan, prepared: Prepared, predictions: Mapping[str, Predictions], folder: Path
) -> dict[str, Any]:
    """Scores the predictions for each split; returns what this adds to the run's row."""
    splits = {"test": prepared.test, **prepared.slices} if "test" in predictions else {}
    if "validation" in predictions:
        splits["validation"] = validation(prepared, len(predictions["validation"].nats))
    made = {split: scored(prepared, examples, predictions[split]) for split, examples in splits.items()}
    _write_scores(plan, made, folder)
    if plan.trial:
        return {}
    test = made["test"]
    _write_decodings(plan, test, folder)
    _write_predictions(plan, test, folder)
    if plan.kind_code:
        kept_outputs.write(folder, test.outputs)
    _write_signatures(test.scores, folder)
    return _scoring_columns(prepared, test.predictions)


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


def _scoring_columns(prepared: Prepared, made: Predictions) -> dict[str, Any]:
    """The part of the row that scoring fills in; FLOPs and tokens are those of answering, from a cache."""
    tokens = sum(len(answer) + prepared.ends for answer in made.answers)
    return {
        "score_seconds": made.score_seconds,
        "generate_seconds": made.generate_seconds,
        "generate_tokens_per_second": tokens / made.generate_seconds if made.generate_seconds else math.nan,
        "inference_flops": made.inference_flops,
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
    facts = {"run": plan.run, **machine.environment(plan.device), "numerics": str(plan.numerics)}
    sealed.write_json(folder / ENVIRONMENT, facts)
    text = io.StringIO()
    writer = csv.DictWriter(text, CURVES, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"run": plan.run, **point} for point in state.curves)
    files.write_text(folder / "curves.csv", text.getvalue())


def _write_signatures(scores: Iterable[Score], folder: Path) -> None:
    """Adds the libraries' settings for scores to the facts about the machine."""
    signed = metrics.signatures(score.metric for score in scores)
    facts = sealed.read_json(folder / ENVIRONMENT)
    sealed.write_json(folder / ENVIRONMENT, facts | {f"{name}_signature": text for name, text in signed.items()})


def _write_scores(plan: Plan, splits: Mapping[str, Scored], folder: Path) -> None:
    named = [(name, score) for name, scored in splits.items() for score in scored.scores]
    rows = [{"run": plan.run, **_split_or_slice(name), **_score_row(score)} for name, score in named]
    sealed.write_json(folder / "scores.json", rows)


def _split_or_slice(name: str) -> dict[str, str]:
    return {"split": name} if name in SPLITS else {"split": "slice", "slice": name}


def _score_row(score: Score) -> dict[str, Any]:
    return {key: value for key, value in asdict(score).items() if key != "per_example"}


def _write_decodings(plan: Plan, test: Scored, folder: Path) -> None:
    rows = [
        {"run": plan.run, "decoding": way.decoding, **_score_row(score), "flops": way.flops, "seconds": way.seconds}
        for way in test.decoded
        for score in way.scores
    ]
    if rows:
        sealed.write_json(folder / "decodings.json", rows)


def _write_predictions(plan: Plan, scored: Scored, folder: Path) -> None:
    table = pa.Table.from_pandas(_table(scored), preserve_index=False)
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "run": plan.run}), file)
    files.write_bytes(folder / "predictions.parquet", file.getvalue())


def _table(scored: Scored) -> pd.DataFrame:
    """One row per example, with what it contributes to each score that does not follow from the row.

    If the number of answers is limited, only the first rows have answers and their scores. Likelihoods with another
    example's source also exist for the first rows only.
    """
    outputs, shuffled = scored.outputs, scored.predictions.shuffled
    n = len(outputs.references)
    answers: list[str | None] = [*outputs.answers, *[None] * (n - len(outputs.answers))]
    correct = [answer == wanted for answer, wanted in zip(outputs.answers, outputs.references, strict=False)]
    kept = [score for score in scored.scores if score.per_example]
    by_metric = {score.metric: pd.Series(score.per_example, dtype="float64").reindex(range(n)) for score in kept}
    exchanged = pd.Series(-shuffled, dtype="float64").reindex(range(n))
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
            **({"log_likelihood_shuffled": exchanged} if len(shuffled) else {}),
        }
    )
