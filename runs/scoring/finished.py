"""A finished run, read back from its folder: its plan, tokenizer and model."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from archbench.architectures.catalogue import catalogue, digests
from archbench.architectures.families.variant import Variant
from archbench.runs.experiment.sections import UNTRAINED
from archbench.runs.plans import plan
from archbench.runs.store import store
from archbench.runs.store.weights import unpacked
from archbench.runs.training import weight_transfer
from archbench.runs.training.pretraining_objectives import window_limits
from archbench.tasks.base import fixed_environment, sealed
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.base.kind import FORMS, Form
from archbench.tasks.kinds import registry
from archbench.tasks.text.tokenizers import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class FinishedRun:
    """The results of a finished run.

    ``form`` is what examples of its kind of task are, ``does`` what it was trained to do, as `TaskKind` has them.
    ``allowed_tokens`` (v,) bool are the tokens that an answer may use, ``ends`` whether answers carry END,
    ``decoding`` the task's settings for writing them. The model is in evaluation mode, on the CPU.
    """

    plan: plan.Plan
    variant: Variant
    kind: str
    form: Form
    does: str
    ends: bool
    decoding: dict[str, Any]
    tokenizer: Tokenizer
    model: Any
    allowed_tokens: torch.Tensor


def read(folder: Path) -> FinishedRun:
    """The run in ``folder``; raises ``InputError`` where it is another run, unfinished or damaged."""
    store.check_own(folder)
    different = store.modified_files(folder, weights=True)
    if different:
        raise InputError(f"{folder}: this run is damaged ({different[0]} has changed); run its compare command again")
    if not store.is_finished(folder) or not (folder / "task.json").is_file():
        raise InputError(f"{folder}: this run is not finished; run its compare command again first")
    record = store.read_record(folder) or {}
    if record.get("adapt") in UNTRAINED:
        start = sealed.read_json(folder / "plan.json")["start"]
        raise InputError(f"{folder}: this run scores a pretrained model and has no weights of its own; give {start}")
    try:
        return _read(folder)
    except Exception as error:
        what = one_line(error)
        raise InputError(f"{folder}: this run is damaged ({what}); run its compare command again") from error


def _read(folder: Path) -> FinishedRun:
    made, facts = plan.from_json(sealed.read_json(folder / "plan.json")), sealed.read_json(folder / "task.json")
    if made.variables:
        fixed_environment.require(made.variables)
    tokenizer = load_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
    allowed_tokens = torch.zeros(made.vocabulary, dtype=torch.bool)
    allowed_tokens[facts["answers"]] = True
    variant = _variant(folder, made)
    limits = window_limits(made.objective, made.limits) if made.objective else made.limits
    model = variant.builder(tokenizer.labels)(made.size, limits)
    model = weight_transfer.with_head(model, made.vocabulary, made.adapt)
    if variant.checkpoint is None or made.tokens:
        model.load_state_dict(unpacked((folder / "model.safetensors").read_bytes(), store.own_name(folder)))
    kind, form, does = _kind(facts)
    ends, decoding = bool(facts["ends"]), dict(facts["decoding"])
    return FinishedRun(made, variant, kind, form, does, ends, decoding, tokenizer, model.eval(), allowed_tokens)


def _kind(facts: Mapping[str, Any]) -> tuple[str, Form, str]:
    """Name, form and purpose of the kind of task, whose code is not run; older runs have built-in kinds."""
    name = str(facts["kind"])
    known = registry.BUILTIN.get(name)
    form = facts["form"] if known is None else known.form
    does = str(facts["does"] if known is None else known.does)
    return name, next(known_form for known_form in FORMS if known_form == form), does


def _variant(folder: Path, made: plan.Plan) -> Variant:
    """The variant as it was trained: the one that is installed, else the file that the run kept, which is then run.

    Raises ``ValueError`` where its text is not what was trained; such a file is not run.
    """
    if catalogue.is_code(made.variant):
        copy = folder / "variant.py"
        if copy.read_text(encoding="utf-8") != made.variant_text:
            raise ValueError("variant.py has changed since")
        installed = None if made.variant.endswith(".py") else catalogue.find(made.variant)
        if installed is not None and digests.of(installed) == made.variant_digest:
            return installed
        print(f"{copy}: running the code that this run was trained with", file=sys.stderr)
        return catalogue.find(str(copy))
    installed = catalogue.find(made.variant)
    if digests.of(installed) != made.variant_digest:
        again = "" if installed.checkpoint is None else ": that command scores the checkpoint as it is now"
        raise ValueError(f"{made.variant} has changed since{again}")
    return installed
