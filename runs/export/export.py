"""A finished run as a folder that ``transformers`` loads: weights, configurations, tokenizer and a model card.

A run whose model is one of the shapes of ``transformers``, as a finetuned checkpoint is, is written as that class, so
that nothing of archbench is needed to load it; another one loads after ``import archbench.architectures.interop``. No
code in the folder is ever run by it.
"""

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archbench.architectures.catalogue import catalogue, digests
from archbench.architectures.conversion.quiet import quiet
from archbench.architectures.families.variant import STOCK
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import Masked
from archbench.runs.experiment.sections import FINETUNE
from archbench.runs.export import card, facts
from archbench.runs.export.finetuned import FinetunedCheckpoint
from archbench.runs.scoring import finished
from archbench.runs.scoring.finished import FinishedRun
from archbench.runs.store import disk, store
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, PAD
from archbench.tasks.base.files import write_text
from archbench.tasks.text.fast_tokenizers import Template, to_transformers_tokenizer


@dataclass(frozen=True)
class Exported:
    """An exported model: its class of ``transformers``, the files, and Python code that loads and uses it."""

    model: str
    files: tuple[str, ...]
    usage: str


def export(folder: Path, target: Path) -> Exported:
    """Write the run in ``folder`` to ``target``, a new or an empty folder: all of it or nothing.

    Raises ``InputError`` where the run is unfinished, diverged, damaged or has no weights of its own, or where
    ``target`` is no place for it.
    """
    target = Path(os.path.realpath(target))
    try:
        _vacant(target)
        return _placed(_exportable(folder), folder, target)
    except OSError as error:
        if error.errno in disk.FULL:
            raise
        raise InputError(f"{target}: cannot be written: {error.strerror or error}; give another folder") from error


def settings(run: FinishedRun) -> Any:
    """The ``GenerationConfig`` by which ``generate`` writes as the task's answers are written, no other tokens.

    A model of whole windows may write until its window is full (``max_length``), others ``max_new_tokens`` with END.
    """
    from transformers import GenerationConfig

    decoding, limits = run.decoding, run.plan.limits
    longest = {"max_new_tokens": decoding["max_tokens"]}
    if not limits.source_length:
        longest = {"max_length": limits.target_length + 1}
    chosen: dict[str, Any] = {"do_sample": decoding["strategy"] == "sample"}
    if chosen["do_sample"]:
        chosen |= {key: decoding[key] for key in ("temperature", "top_k", "top_p")}
    if decoding["strategy"] == "beam":
        chosen |= {"num_beams": decoding["beams"], "length_penalty": decoding["length_penalty"]}
    if run.variant.checkpoint is not None:
        numbering = FinetunedCheckpoint(run)
        if not limits.source_length:
            longest = {"max_length": limits.target_length + len(numbering.around[0])}
        return GenerationConfig(**numbering.special_ids, suppress_tokens=numbering.suppressed, **longest, **chosen)
    return GenerationConfig(
        bos_token_id=BOS,
        eos_token_id=END,
        pad_token_id=PAD,
        decoder_start_token_id=BOS if run.model.family == "encoder-decoder" else None,
        suppress_tokens=(~run.allowed_tokens).nonzero().squeeze(1).tolist(),
        **longest,
        **chosen,
    )


def text_length(run: FinishedRun) -> int:
    """The most tokens of a text that the model is asked about, with the special ones around it.

    Of running text without sources this is half of a window; the model writes the rest.
    """
    limits = run.plan.limits
    if run.variant.checkpoint is not None:
        around = sum(map(len, FinetunedCheckpoint(run).around))
    else:
        around = int(run.model.family != "encoder-decoder" or not limits.source_length)
    return around + (limits.source_length or max(1, limits.target_length // 2))


def _window(run: FinishedRun) -> int:
    """The most tokens that the model reads in one sequence: more than one text, unless a stack of its own reads it."""
    target = run.plan.limits.target_length
    return max(text_length(run), target) if run.model.family == "encoder-decoder" else text_length(run) + target


def fast_tokenizer(run: FinishedRun) -> Any:
    """The run's tokenizer for ``transformers``: BOS stands where the family reads it, texts are cut on the task's side.

    It warns of texts that are longer than any sequence that the model reads.
    """
    family, sourced = run.model.family, run.plan.limits.source_length > 0
    cut: Literal["left", "right"] = "left" if run.form == "running text" else "right"
    padding: Literal["left", "right"] = "left" if family == "decoder" else "right"
    if run.variant.checkpoint is not None:
        return FinetunedCheckpoint(run).tokenizer(_window(run), padding, cut)
    with_source: Template = "source" if family == "encoder-decoder" else "source-bos"
    layout: Template = with_source if sourced else "bos-text"
    return to_transformers_tokenizer(run.tokenizer, layout, _window(run), padding, cut)


def model(run: FinishedRun) -> tuple[Any, bool]:
    """The run's model as one of ``transformers``, and whether it is a class of its own ("stock") or our adapter's."""
    from archbench.architectures.conversion import convert
    from archbench.architectures.formats import stock
    from archbench.architectures.interop import adapter, configuration

    made = run.plan
    if run.variant.checkpoint is not None:
        return FinetunedCheckpoint(run).model(), True
    if made.variant in STOCK:
        theirs = stock.created(made.variant, made.size, made.limits)
        stock.wrap(theirs, made.limits.target_length).load_state_dict(run.model.state_dict())
        return theirs.eval(), True
    writes_as_they_do = type(run.model.objective) is (Masked if run.model.family == "encoder" else Causal)
    if writes_as_they_do and made.training.canvas != "length":
        with contextlib.suppress(InputError):  # it is none of the shapes
            return convert.to_transformers(run.model), True
    name = _known_as(run)
    digest = made.variant_digest if name else digests.of_text(made.variant_text)
    config = configuration.described(name, digest, run.model.family, made.size, made.limits)
    return adapter.wrapped(run.model, config, None if name else Path(run.variant.path)), False


def _known_as(run: FinishedRun) -> str:
    """The name by which archbench or an installed package has the variant, its text as it was; empty where none has."""
    names = {run.plan.variant, run.plan.variant.replace("_", "-")} & {*catalogue.names(), *catalogue.ablated()}
    return next((name for name in sorted(names) if digests.of(catalogue.find(name)) == run.plan.variant_digest), "")


def _placed(run: FinishedRun, folder: Path, target: Path) -> Exported:
    """Everything is written aside: in ``target`` where that is there, beside it else."""
    parent = target if target.is_dir() else target.parent
    parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    try:
        with quiet():
            exported = _write(run, folder, aside)
        _open_to_others(aside)
        _move(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return exported


def _move(aside: Path, target: Path) -> None:
    """Moves the temporary folder to ``target``, or its files into an existing folder, which may be a mount point."""
    if not target.is_dir():
        os.replace(aside, target)
        return
    moved: list[Path] = []
    try:
        for path in sorted(aside.iterdir()):
            moved.append(path.rename(target / path.name))
        aside.rmdir()
    except BaseException:
        for path in moved:
            path.unlink()
        raise


def _write(run: FinishedRun, folder: Path, target: Path) -> Exported:
    theirs, is_stock = model(run)
    tokenizer, generation = fast_tokenizer(run), settings(run)
    theirs.generation_config = generation
    theirs.save_pretrained(target)
    generation.save_pretrained(target)
    tokenizer.save_pretrained(target)
    own_file = not is_stock and not theirs.config.variant
    if own_file:
        write_text(target / "variant.py", run.plan.variant_text)
    exported_facts = facts.read(folder, run, type(theirs).__name__, is_stock, own_file, text_length(run))
    write_text(target / "README.md", card.text(exported_facts))
    files = tuple(sorted(path.name for path in target.iterdir()))
    return Exported(type(theirs).__name__, files, card.usage(exported_facts))


def _exportable(folder: Path) -> FinishedRun:
    record = store.read_record(folder) or {}
    if record.get("status") == "diverged":
        raise InputError(f"{folder}: this run diverged and cannot be exported: {record.get('error', '')}")
    run = finished.read(folder)
    if run.variant.checkpoint is not None and not run.plan.is_trained:
        raise InputError(f"{folder}: this run scored a checkpoint without training it; load that checkpoint instead")
    if run.plan.adapt != FINETUNE:
        raise InputError(
            f"{folder}: no class of transformers reads this model with its head on mean states; "
            "load the run's model.safetensors with archbench"
        )
    if run.model.family not in card.FAMILIES:
        raise InputError(
            f"{folder}: no class of transformers reads models of the family {run.model.family!r}; "
            "load the run's model.safetensors with its variant.py"
        )
    return run


def _vacant(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; give a new folder")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{target}: this folder is not empty; give a new one")


def _open_to_others(folder: Path) -> None:
    """Rights as new files have them: folders that are made aside, and files of safetensors, are their owner's alone."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~mask)
