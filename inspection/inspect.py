"""All that is measured inside one run, as plain values in one JSON file: what the page of `archbench inspect` shows."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from archbench.architectures.probes import Axis
from archbench.inspection import embeddings, heads, positions, stream, writing
from archbench.inspection.facts import FILE, HEADS, SCHEMA
from archbench.inspection.gates import failed_gates
from archbench.inspection.subject import MOST_EXAMPLES, InspectedRun, answer, read, read_example, spelled
from archbench.runs.store import disk, store
from archbench.tasks.base import files, sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

ENVIRONMENT = "environment.json"
KEPT, DRAWN = 256, 32  # tokens along an axis of an attention map


def inspect(
    folder: Path,
    text: str | None,
    out: Path,
    say: Say,
    right: str | None = None,
) -> Path:
    """Measure the run in ``folder`` and write what was found to ``out``; the file's path.

    Shown is ``text`` with ``right`` as its right answer, else the first test example that the model does not guess
    right. Raises ``InputError`` where the run or a text cannot be looked at, or nothing can be written to ``out``.
    """
    disk.check_writable(out)
    subject = read(folder, text, right)
    if subject.cut:
        say(f"{subject.cut} tokens of the given text exceed the model's lengths and are ignored")
    if subject.run.form == "running text" and text and right and text[-1].isalnum() and right[0].isalnum():
        say("--answer continues the last word of --text; begin it with a space if it is a new word")
    if not read_example(subject, subject.examples[0]).layers:
        raise InputError(f"{folder}: its layers are not archbench's ({subject.run.plan.variant}); nothing to show")
    if text is None:
        subject = replace(subject, text=writing.first_mistaken(subject))
    facts = measured(subject, folder, say) | {"gate": failed_gates(folder)}
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / FILE, json.dumps(facts, ensure_ascii=False) + "\n")
    return out / FILE


def measured(subject: InspectedRun, folder: Path, say: Say) -> dict[str, Any]:
    """Everything, as plain values."""
    run = subject.run
    say(f"{folder.name}: attention heads, on {min(HEADS, len(subject.examples))} test examples")
    found_heads = heads.heads(subject)
    say(f"{folder.name}: embeddings, residual stream and linear probes")
    vectors, frequent, counts = embeddings.table(subject)
    groups = embeddings.groups_of(run.tokenizer, frequent)
    alike = embeddings.similarity(vectors, frequent, groups)
    streams, probes = stream.norms(subject), stream.probes(subject)
    say(f"{folder.name}: its predictions, and one training step")
    record = store.read_record(folder) or {}
    environment = sealed.read_json(folder / ENVIRONMENT) if (folder / ENVIRONMENT).is_file() else {}
    return {
        "schema": SCHEMA,
        "run": folder.name,
        "archbench": environment.get("archbench", ""),
        "archbench_commit": environment.get("archbench_commit", ""),
        "architecture": run.plan.architecture,
        "description": run.plan.description,
        "family": run.plan.family,
        "kind": run.kind,
        "dataset": run.plan.task.name,
        "parameters": run.plan.counts.parameters,
        "train_tokens": record.get("train_tokens"),
        "loss_name": subject.loss_name,
        "exact": subject.exact,
        "examples": len(subject.examples),
        "most_examples": MOST_EXAMPLES,
        "text": _text(subject),
        "maps": _maps(subject),
        "heads": [asdict(reading) for reading in found_heads],
        "schemes": positions.schemes(subject),
        "norms": streams,
        "probes": probes,
        "neighbours": embeddings.neighbours(subject, vectors, frequent),
        "projection": embeddings.projection(subject, vectors, frequent),
        "groups": embeddings.listed(subject, vectors, groups, counts),
        "similarity": None if alike is None else asdict(alike),
        "positions": writing.positions(subject),
        "snapshots": writing.snapshots(subject, folder),
        "step": writing.gradient_step(subject),
    }


def _text(subject: InspectedRun) -> dict[str, Any]:
    """The shown text: its tokens under the run's tokenizer, its target, and what the model answers.

    ``example`` is its number among the test examples, ``wrong`` at how many positions the model's guess is not the
    target's token.
    """
    tokenizer, (source, target) = subject.run.tokenizer, subject.text

    def listed(tokens: list[int]) -> list[dict[str, Any]]:
        return [{"id": token, "token": spelled(tokenizer, token)} for token in tokens]

    return {
        "given": subject.from_user,
        "cut": subject.cut,
        "right": subject.right,
        "example": None if subject.from_user else 1 + subject.examples.index(subject.text),
        "wrong": writing.mistakes(subject, subject.text),
        "tokenizer": tokenizer.kind,
        "vocabulary": tokenizer.vocabulary,
        "source": tokenizer.decode(source),
        "target": tokenizer.decode(target),
        "answer": tokenizer.decode(answer(subject.run, source)) if source else None,
        "source_tokens": listed(source),
        "target_tokens": listed(target),
    }


def _maps(subject: InspectedRun) -> list[dict[str, Any]]:
    """The attention of every layer and head to the shown text: weights by query and key.

    Of each axis ``tokens`` are there, those from ``first`` on are kept, and those from ``drawn[0]`` to before
    ``drawn[1]`` are to be drawn. All count from 0, queries first.
    """
    reading, run = read_example(subject, subject.text), subject.run
    whole = reading.width  # cut around the border to the target; a source alone at its end where the target goes on
    borders: dict[Axis, int] = {"both": whole, "source": whole * (run.form == "running text"), "target": 0}
    maps = []
    for layer in reading.layers:
        for part, weights in layer.weights.items():
            axes = (reading.axes[layer.axis], reading.keys(part, layer))
            at = (borders[layer.axis], borders["source" if part == "cross" else layer.axis])
            kept, drawn = (
                [_around(len(axis), border, most) for axis, border in zip(axes, at, strict=True)]
                for most in (KEPT, DRAWN)
            )
            cut = weights[0, :, kept[0], kept[1]].tolist()
            values = [[[round(weight, 4) for weight in row] for row in head] for head in cut]
            maps.append(
                {
                    "layer": layer.name,
                    "part": part,
                    "tokens": [len(axis) for axis in axes],
                    "first": [span.start for span in kept],
                    "drawn": [[span.start, span.stop] for span in drawn],
                    "queries": [spelled(run.tokenizer, token) for token in axes[0][kept[0]]],
                    "keys": [spelled(run.tokenizer, token) for token in axes[1][kept[1]]],
                    "weights": values,
                }
            )
    return maps


def _around(tokens: int, centre: int, most: int) -> slice:
    """At most ``most`` of so many tokens, as many before the centre as after it where there are enough."""
    start = max(0, min(centre - most // 2, tokens - most))
    return slice(start, min(start + most, tokens))
