"""All that is measured inside one run, as plain values in one JSON file: what the page of `archbench inspect` shows."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runs import store
from runs.inside import heads, meaning, order, stream, writing
from runs.inside.reading import read as read_pair
from runs.inside.subject import MOST_EXAMPLES, Subject, answer, read, spelled
from tasks.errors import InputError

SCHEMA = 1
FILE = "inspection.json"
MAP_TOKENS = 40  # along an axis of an attention map; what is beyond is measured but not drawn
Say = Callable[[str], None]


def inspect(folder: Path, text: str | None, out: Path, say: Say) -> Path:
    """Measure the run in ``folder`` and write what was found to ``out``; the file's path.

    Raises ``InputError`` where the run or the text cannot be looked at, or nothing can be written to ``out``.
    """
    store.check_writable(out)
    subject = read(folder, text)
    if subject.cut:
        say(f"{subject.cut} tokens of the text are beyond the model's lengths and are not read")
    if not read_pair(subject, subject.examples[0]).layers:
        raise InputError(f"{folder}: its layers are not archbench's own ({subject.run.plan.variant}); nothing to show")
    found = measured(subject, folder, say)
    out.mkdir(parents=True, exist_ok=True)
    store.write_text(out / FILE, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    return out / FILE


def measured(subject: Subject, folder: Path, say: Say) -> dict[str, Any]:
    """Everything, as plain values."""
    run = subject.run
    say(f"{folder.name}: what each head does, on {min(60, len(subject.examples))} test examples")
    found_heads = heads.heads(subject)
    say(f"{folder.name}: embeddings, the residual stream, what a linear probe reads from it")
    vectors, frequent, counts = meaning.table(subject)
    groups = meaning.groups_of(run.tokenizer, frequent)
    alike = meaning.similarity(vectors, frequent, groups)
    streams, probes = stream.norms(subject), stream.probes(subject)
    say(f"{folder.name}: what it would write, and one step of training")
    record = store.read_record(folder) or {}
    return {
        "schema": SCHEMA,
        "run": folder.name,
        "architecture": run.plan.architecture,
        "description": run.plan.description,
        "family": run.plan.family,
        "kind": run.kind,
        "dataset": run.plan.task.name,
        "parameters": run.plan.counts.parameters,
        "train_tokens": record.get("train_tokens"),
        "loss_name": subject.loss_name,
        "examples": len(subject.examples),
        "most_examples": MOST_EXAMPLES,
        "text": _text(subject),
        "maps": _maps(subject),
        "heads": [asdict(each) for each in found_heads],
        "schemes": order.schemes(subject),
        "norms": streams,
        "probes": probes,
        "neighbours": meaning.neighbours(subject, vectors, frequent),
        "projection": meaning.projection(subject, vectors, frequent),
        "groups": _groups(subject, groups, counts),
        "similarity": None if alike is None else asdict(alike),
        "positions": writing.positions(subject),
        "snapshots": writing.snapshots(subject, folder),
        "step": writing.gradient_step(subject),
    }


def _text(subject: Subject) -> dict[str, Any]:
    """The shown text: its tokens under the run's tokenizer, its target, and what the model answers."""
    tokenizer, (source, target) = subject.run.tokenizer, subject.text

    def listed(tokens: list[int]) -> list[dict[str, Any]]:
        return [{"id": token, "token": spelled(tokenizer, token)} for token in tokens]

    return {
        "given": subject.given,
        "tokenizer": tokenizer.kind,
        "vocabulary": tokenizer.vocabulary,
        "source": tokenizer.decode(source),
        "target": tokenizer.decode(target),
        "answer": tokenizer.decode(answer(subject.run, source)) if source else None,
        "source_tokens": listed(source),
        "target_tokens": listed(target),
    }


def _maps(subject: Subject) -> list[dict[str, Any]]:
    """The attention of every layer and head to the shown text: weights by query and key, cut where they are many."""
    reading, tokenizer = read_pair(subject, subject.text), subject.run.tokenizer
    found = []
    for layer in reading.layers:
        for part, weights in (("self", layer.weights), ("cross", layer.cross)):
            if weights is None:
                continue
            queries = [spelled(tokenizer, token) for token in reading.axes[layer.axis]][:MAP_TOKENS]
            keys = [spelled(tokenizer, token) for token in reading.keys(part, layer)][:MAP_TOKENS]
            cut = weights[0, :, :MAP_TOKENS, :MAP_TOKENS].tolist()
            values = [[[round(weight, 4) for weight in row] for row in head] for head in cut]
            found.append({"layer": layer.name, "part": part, "queries": queries, "keys": keys, "weights": values})
    return found


def _groups(subject: Subject, groups: dict[int, str], counts: Any) -> list[dict[str, Any]]:
    """The groups of tokens that are used alike, as far as the examples hold them."""
    names: dict[str, list[int]] = {}
    for token, name in groups.items():
        names.setdefault(name, []).append(token)
    return [
        {
            "group": name,
            "tokens": [spelled(subject.run.tokenizer, token) for token in tokens],
            "times": sum(counts[token] for token in tokens),
        }
        for name, tokens in names.items()
    ]
