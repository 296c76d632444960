"""Starts of runs: pretrainings, and the conditions of a task that start elsewhere or see fewer examples.

[[pretraining]]
name = "own"
data = "shakespeare"
budget = { tokens = 2_000_000 }

[[tasks]]
data = "sentiment"
start = ["scratch", "own"]
examples = [100, "all"]
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from archbench.runs.experiment.conditions import LISTS, changed, limited
from archbench.runs.experiment.entries import ExperimentEntry, PretrainingEntry, TaskEntry
from archbench.runs.experiment.sections import (
    ADAPTED,
    FINETUNE,
    FROZEN,
    ONCE,
    PROMPT,
    SCRATCH,
    SCRATCH_WITH,
    UNTRAINED,
    ZERO_SHOT,
    Experiment,
    Keys,
    Pretraining,
    Task,
    TextKeys,
    TrainingEntry,
    is_checkpoint,
    is_scratch,
)
from archbench.runs.experiment.tasks import resolved, usual_batch
from archbench.runs.experiment.validation import nearest, printable, require
from archbench.tasks.base.errors import InputError

KIND = "generation"
PRETRAINING_MATCHES = ("parameters", "flops-by-tokens", "loss-tokens")  # what pretrainings can be held equal on
OWN_TEXT = "task"  # data: the training texts of the task that starts from the pretraining
LEARNING_RATE, STEPS, MASK_RATE = 0.01, 2_000, 0.3  # of a pretraining for which a file states none: docs/tuning.md
PRETRAINED_SHARE = 0.3  # of the weights that drawn labels are trained from, likewise
DROPOUT, TOKENS_OF_LABEL = 0.2, 200  # above so many training tokens for each drawn label, where a file states none


def pretrainings(entry: ExperimentEntry, folder: str) -> tuple[Pretraining, ...]:
    """The pretrainings of an experiment, each as a task of running text."""
    stages: list[Pretraining] = []
    for index, written in enumerate(entry.pretraining):
        where = f"pretraining[{index}]"
        own = written.stated(Keys)
        text = {"name": written.name, "tokenizer": written.tokenizer, "context": written.context}
        as_task = TaskEntry(kind=KIND, data=written.data).patched(text | written.stated(TextKeys) | own)
        task = resolved(as_task, _general(entry, written), folder, where)
        _check(written, task, where)
        _check_before(written, task, stages, where)
        budget, lists = {"match": task.budget.match[:1]}, tuple(name for name in LISTS if name in own)
        stages.append(
            Pretraining(
                task=task.patched({"budget": budget, "own_lists": lists}),
                objective=written.objective,
                mask_rate=_mask_rate(written, where),
                before=written.from_ or "",
                before_architecture=written.from_architecture or "",
                share=written.share,
            )
        )
    names = [pretraining.name.casefold() for pretraining in stages]
    for index, name in enumerate(names):
        if name == SCRATCH or name in names[:index] or name in [task.name for task in entry.tasks]:
            taken = "is taken" if name != SCRATCH else "is reserved for runs without pretraining"
            raise InputError(f"pretraining[{index}].name: {printable(stages[index].name)} {taken}; rename it")
    return tuple(stages)


def _check(written: PretrainingEntry, task: Task, where: str) -> None:
    if task.budget.tokens is None:
        raise InputError(f"{where}.budget.tokens: missing; set the number of tokens to pretrain on")
    _check_match(task.budget.match, f"{where}.budget.match")


def _general(entry: ExperimentEntry, written: PretrainingEntry) -> dict[str, Any]:
    """The experiment's keys for a pretraining; what they leave open has the defaults of pretrainings."""
    keys, tokens = entry.stated(Keys), written.budget.tokens or entry.budget.tokens or 0
    stated = keys.get("training", {})
    recipe: dict[str, float] = {"batch_tokens": usual_batch(tokens, STEPS)}
    if _takes_fast_rate(stated | written.training.stated()):
        recipe["learning_rate"] = LEARNING_RATE
    return keys | {"training": recipe | stated}


def _mask_rate(written: PretrainingEntry, where: str) -> float | None:
    """The share of the tokens that masks hide; None: drawn for each window, or nothing is masked."""
    rate = written.mask_rate
    if not {"masked", "own"} & set(written.objective):
        if rate not in (None, "uniform"):
            raise InputError(f"{where}.mask_rate: applies to the objectives masked and own; remove it")
        return None
    return None if rate == "uniform" else float(MASK_RATE if rate is None else rate)


def _check_match(axes: Sequence[str], where: str) -> None:
    if axes[0] not in PRETRAINING_MATCHES:
        raise InputError(
            f'{where}: "{axes[0]}": a pretraining is matched by {" or ".join(PRETRAINING_MATCHES)}; '
            "give it one of these"
        )


def overridden(
    experiment: Experiment, names: Sequence[str], match: Sequence[str] | None, general: Mapping[str, tuple[Any, ...]]
) -> tuple[Pretraining, ...]:
    """The pretrainings under the command line's settings: those that the tasks ``names`` start from, or no task does.

    ``general`` has the command line's architectures and seeds. A pretraining without lists of its own gets these. One
    with architectures of its own keeps those that are chosen or continued; one with seeds of its own keeps them.
    """
    if match is not None and experiment.pretraining:
        _check_match(match, "match")
    stages: list[Pretraining] = []
    continued: dict[str, set[str]] = {}
    for stage in reversed(_of_tasks(experiment, names)):
        own = stage.task.own_lists
        lists = {key: wanted for key, wanted in general.items() if key not in own or key != "seeds"}
        if "architectures" in lists and "architectures" in own:
            lists["architectures"] = (*lists["architectures"], *continued.get(stage.name, ()))
        task = limited(stage.task, lists).patched({"budget": {"match": tuple(match[:1])}} if match else {})
        if not task.architectures:
            continue
        if stage.before:
            needed = (stage.before_architecture,) if stage.before_architecture else task.architectures
            continued.setdefault(stage.before, set()).update(needed)
        stages.append(stage.patched({"task": task}))
    return tuple(reversed(stages))


def _of_tasks(experiment: Experiment, names: Sequence[str]) -> tuple[Pretraining, ...]:
    """The pretrainings except those that only tasks other than ``names`` start from."""
    kept, left_out = set[str](), set[str]()
    for task in experiment.tasks_and_conditions:
        (kept if task.name in names else left_out).update(_chain(experiment, task.start))
    return tuple(stage for stage in experiment.pretraining if stage.name in kept or stage.name not in left_out)


def _chain(experiment: Experiment, start: str) -> set[str]:
    """The pretraining of a start and all that it goes on from."""
    by_name = {stage.name: stage for stage in experiment.pretraining}
    names = set[str]()
    while start in by_name:
        names.add(start)
        start = by_name[start].before
    return names


def check_overridden(tasks: Sequence[Task], stages: Sequence[Pretraining], written: Sequence[Pretraining]) -> None:
    """Raises ``InputError`` where the command line's settings leave a task without what it starts from."""
    by_name = {stage.name: stage.task for stage in stages}
    for task in tasks:
        _check_adapt(task, [task.adapt], f"tasks.{task.name}.adapt")
        if task.start not in {stage.name for stage in written}:
            continue
        before = by_name.get(task.start)
        for name in task.architectures:
            if before is None or not _pretrained(task.patched({"architectures": (name,)}), before):
                raise InputError(
                    f"tasks.{task.name}.start: {printable(task.start)} does not pretrain {name}; leave it out, or add "
                    "it to the pretraining's architectures"
                )


def _check_before(written: PretrainingEntry, task: Task, known: Sequence[Pretraining], where: str) -> None:
    """Raise ``InputError`` unless ``from`` names an earlier pretraining of the same size and architecture."""
    if written.from_ is None:
        for key in ("from_architecture", "share"):
            if getattr(written, key) is not None:
                raise InputError(f"{where}.{key}: needs from, the pretraining that this one goes on from")
        return
    by_name = {pretraining.name: pretraining for pretraining in known}
    require(written.from_, by_name, f"{where}.from: no earlier pretraining {printable(written.from_)}")
    before = by_name[written.from_].task
    _check_same_size(task, before, f"{where}.from")
    for architecture in (written.from_architecture,) if written.from_architecture else task.architectures:
        if architecture not in before.architectures:
            raise InputError(
                f"{where}.from: {printable(written.from_)} does not pretrain {architecture}; set "
                "from_architecture to one that it does"
            )


def _check_same_size(task: Task, before: Task, where: str, keys: Sequence[str] = ("parameters", "model")) -> None:
    for key in keys:
        mine, its = (part.model if key == "model" else part.budget.parameters for part in (task, before))
        if mine != its:
            raise InputError(f"{where}: {printable(before.name)} has {key} = {its}, here {mine}; make them equal")


def expand(
    tasks: Sequence[tuple[TaskEntry, Task]], known: Sequence[Pretraining]
) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """The tasks with their first start, number of examples and adaptation; then conditions with all other ones."""
    totals = {pretraining.name: _total_tokens(pretraining, known) for pretraining in known}
    first: list[Task] = []
    conditions: list[Task] = []
    for index, (entry, task) in enumerate(tasks):
        task = _in_windows_of_start(entry, task, known)
        _check_starts(entry, task, known, f"tasks[{index}]")
        for number, changes in enumerate(_combinations(entry, task, totals)):
            changes |= _started_from(changes, entry, task, known)
            if number > 0:
                changes |= {"condition": _condition_name(entry, changes), "retuned": task.tuning is not None}
            (conditions if number > 0 else first).append(changed(task, changes))
    return tuple(first), tuple(conditions)


def _check_starts(entry: TaskEntry, task: Task, known: Sequence[Pretraining], where: str) -> None:
    for name in entry.start:
        _check_start(name, entry, task, known, f"{where}.start")
    starts = [name for name in entry.start if not name.startswith(SCRATCH_WITH)]  # these have the rates of scratch
    for name in entry.tuned_starts:
        require(name, starts, f"{where}.tuned_starts: {printable(name)} is not a start of this task")
    _check_adapt(task, [way for start in entry.start for way in _ways(entry, task, start)], f"{where}.adapt")
    _check_compared(entry, task, known, where)
    _check_prompts(entry, where)
    _check_drawing(entry, where)
    _check_checkpoints(entry, where)


def _in_windows_of_start(entry: TaskEntry, task: Task, known: Sequence[Pretraining]) -> Task:
    """A task that compares texts, which are read in windows as long as those of its pretraining unless it says."""
    before = next((stage.task for stage in known if stage.name in entry.start), None)
    if before is None or not task.compares_texts or entry.context is not None:
        return task
    return task.patched({key: getattr(before, key) for key in ("context", "source_length", "target_length")})


def _ways(entry: TaskEntry, task: Task, start: str) -> Sequence[str]:
    """How runs from this start are adapted: nothing is trained on texts that are compared."""
    return (ZERO_SHOT,) if task.compares_texts and _is_pretraining(start) else entry.adapt


def _started_from(
    changes: Mapping[str, Any], entry: TaskEntry, task: Task, known: Sequence[Pretraining]
) -> dict[str, Any]:
    """Further changes by the start: the tuned rates and, after a pretraining, the size and the architectures."""
    more: dict[str, Any] = {}
    if changes["adapt"] not in (FROZEN, *UNTRAINED):
        more |= {"tuned": task.tuned | entry.tuned_starts.get(changes["start"], {})}
    elif len(entry.adapt) > 1:  # then these are rates of whole models
        more |= {"tuned": {}}
    before = next((pretraining.task for pretraining in known if pretraining.name == changes["start"]), None)
    if before is not None:
        more |= {"budget": {"parameters": before.budget.parameters}, "model": before.model}
        if len(some := _pretrained(task, before)) < len(task.architectures):
            more |= {"architectures": some}
    return more


def _combinations(entry: TaskEntry, task: Task, totals: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Every start with every number of examples and way to adapt. ``totals`` are the tokens of each pretraining.

    A checkpoint is finetuned in place of the architectures. Heads on untrained models are run only without a
    pretraining; otherwise the baseline is training all weights from scratch. A prompt needs a pretraining and trains
    nothing: it is run once for each pretraining and number of shots, which are among the first of ``examples``.
    "scratch+NAME" is run on the largest number of examples, where longer training helps most.
    """
    is_pretrained = any(_is_pretraining(start) for start in entry.start)
    starts = product(entry.start, entry.examples)
    for start, examples, adapt in ((*each, way) for each in starts for way in _ways(entry, task, each[0])):
        changes = {"start": start, "examples": examples, "adapt": adapt, **_drawing(entry, examples)}
        if adapt not in (FROZEN, *UNTRAINED) and not is_checkpoint(start) and task.tuning is None:
            changes |= {"training": _open_recipe(entry, task, start, examples)}
        if is_checkpoint(start):
            if adapt == FINETUNE:
                yield changes | {"architectures": (start,), "tuning": None}
        elif start.startswith(SCRATCH_WITH):
            name = start.removeprefix(SCRATCH_WITH)
            total = {"tokens": (task.budget.tokens or 0) + totals[name], "epochs": None}
            if adapt == FINETUNE and examples == max(entry.examples, key=lambda count: count or math.inf):
                yield changes | {"start": SCRATCH, "with_tokens_of": name, "budget": total}
        elif adapt == ZERO_SHOT:
            yield changes | {"tuning": None}
        elif adapt != PROMPT:
            if start != SCRATCH or adapt == FINETUNE or not is_pretrained:
                yield changes
        elif start != SCRATCH and examples == entry.examples[0]:
            for shots in entry.shots:
                prompt = {"shots": shots, "verbalizers": entry.verbalizers, "tuning": None}
                yield changes | prompt


def _open_recipe(entry: TaskEntry, task: Task, start: str, examples: int) -> dict[str, Any]:
    """Values for keys of the recipe that a file leaves open: the rate of a task that is pretrained for, from every
    start; of drawn labels, the weights that are kept, the part of pretrained ones, and the dropout where they are read
    many times.
    """
    stated, recipe = task.training.stated(), dict[str, Any]()
    chosen = bool(entry.tuned or entry.tuned_starts)  # rates of other trials, for weights that were taken whole
    if _takes_fast_rate(stated) and not chosen and any(map(_is_pretraining, entry.start)):
        recipe["learning_rate"] = LEARNING_RATE
    if task.target_length == 1 and _drawing(entry, examples):
        recipe["keep"] = "last"
        if _is_pretraining(start) and not chosen:
            recipe["pretrained_share"] = PRETRAINED_SHARE
        if (task.budget.tokens or 0) > TOKENS_OF_LABEL * examples:
            recipe["dropout"] = DROPOUT
    return {key: value for key, value in recipe.items() if key not in stated}


def _takes_fast_rate(stated: Mapping[str, Any]) -> bool:
    """True if a file states neither a learning rate nor an optimizer for which the usual rate may be too high."""
    usual = TrainingEntry.model_fields["optimizer"].default
    return "learning_rate" not in stated and stated.get("optimizer", usual) == usual


def _drawing(entry: TaskEntry, examples: int) -> dict[str, Any]:
    """How many labelled examples are drawn beside the training examples, where these are drawn with the seed."""
    if not examples or entry.draw == ONCE:
        return {}
    wanted = entry.validation_examples
    return {"draw": entry.draw, "validation_examples": examples if wanted is None else wanted}


def _is_pretraining(start: str) -> bool:
    return not is_scratch(start) and not is_checkpoint(start)


def _condition_name(entry: TaskEntry, changes: Mapping[str, Any]) -> str:
    """The name of a condition: what differs between the conditions of its task."""
    start, examples, shots = changes["start"], changes["examples"], changes.get("shots")
    before = "no pretraining" if start == SCRATCH else f"pretraining {start}"
    if is_checkpoint(start):
        before = f"checkpoint {start}"
    if changes.get("with_tokens_of"):
        before += f", plus the tokens of {changes['with_tokens_of']}"
    words = [before] * (len(entry.start) > 1)
    if shots is None:
        words += [f"{examples:,} examples" if examples else "all examples"] * (len(entry.examples) > 1)
    words += [ADAPTED[changes["adapt"]]] * (len(entry.adapt) > 1)
    if shots is not None and len(entry.shots) > 1:
        words.append("no shots" if shots == 0 else f"{shots} shot{'s' if shots > 1 else ''}")
    return ", ".join(words)


def task_of(pretraining: Pretraining, tasks: Sequence[Task]) -> Task | None:
    """The task whose texts a pretraining reads; None where it has data of its own. Raises ``InputError``."""
    if pretraining.task.data != OWN_TEXT:
        return None
    starting = {task.name: task for task in tasks if task.start == pretraining.name}
    if len(starting) != 1:
        starts, remedy = "no task does", "name it as the start of a task"
        if starting:
            starts, remedy = f"{' and '.join(starting)} do", "give each task a pretraining of its own"
        raise InputError(
            f'pretraining.{pretraining.name}.data: "{OWN_TEXT}" is the text of the one task that starts from it, '
            f"but {starts}; {remedy}"
        )
    return next(iter(starting.values()))


def _check_start(name: str, entry: TaskEntry, task: Task, known: Sequence[Pretraining], where: str) -> None:
    """A start is a checkpoint, or a pretraining of some of the task's architectures.

    A size that the task states itself has to be the pretraining's.
    """
    if name == SCRATCH or is_checkpoint(name):
        return
    if name.startswith(SCRATCH_WITH):
        name = name.removeprefix(SCRATCH_WITH)
        if task.budget.tokens is None:
            raise InputError(f"{where}: {printable(SCRATCH_WITH + name)} needs a budget of the task in tokens")
    by_name = {pretraining.name: pretraining for pretraining in known}
    if name not in by_name:
        raise InputError(f"{where}: no pretraining {printable(name)}{nearest(name, [SCRATCH, *by_name])}")
    before = by_name[name].task
    stated = {"parameters": entry.budget.parameters, "model": entry.model.stated()}
    _check_same_size(task, before, where, [key for key, given in stated.items() if given])
    if not _pretrained(task, before):
        raise InputError(
            f"{where}: {printable(name)} pretrains no architecture of {task.name}; add one to the "
            "pretraining's architectures"
        )


def _pretrained(task: Task, before: Task) -> tuple[str, ...]:
    """The architectures of a task that a pretraining trains, with all of their alternatives."""
    return tuple(
        name
        for name in task.architectures
        if {form.variant for form in task.candidates(name)} <= set(before.architectures)
    )


def _total_tokens(pretraining: Pretraining, known: Sequence[Pretraining]) -> int:
    """The tokens of a pretraining and of what it goes on from."""
    tokens = pretraining.task.budget.tokens or 0
    if not pretraining.before or pretraining.share is not None:  # then both parts are within the tokens
        return tokens
    return tokens + _total_tokens(next(other for other in known if other.name == pretraining.before), known)


def _check_compared(entry: TaskEntry, task: Task, known: Sequence[Pretraining], where: str) -> None:
    """Texts are compared by pretrained models as they are, in their windows, or by models trained on another text."""
    if not task.compares_texts:
        return
    for key in ("adapt", "examples"):
        if key in entry.stated():
            raise InputError(f"{where}.{key}: nothing is trained on {task.kind}; remove this key")
    untrained = [start for start in entry.start if not _is_pretraining(start)]
    if untrained and not task.trains and not all(map(is_checkpoint, task.architectures)):
        raise InputError(
            f"{where}.start: {printable(untrained[0])}: nothing is trained on {task.kind}; name a pretraining, or "
            'a text to train on: data = { train = "text.txt", test = "pairs.csv" }'
        )
    for before in (stage.task for stage in known if stage.name in entry.start):
        if (before.source_length, before.target_length) != (task.source_length, task.target_length):
            raise InputError(
                f"{where}.context: {task.context}: {printable(before.name)} is pretrained on windows of "
                f"{before.context}; make them equal"
            )


def _check_adapt(task: Task, ways: Sequence[str], where: str) -> None:
    """Heads and prompts are for labels; they are compared at equal size and tokens."""
    heads = [way for way in ways if way != FINETUNE]
    if set(heads) - {ZERO_SHOT} and task.target_length != 1:
        raise InputError(f'{where}: "{heads[0]}" needs labels, but {task.kind} writes texts; remove it')
    if heads and set(task.budget.match) != {"parameters"}:
        raise InputError(f'{where}: "{heads[0]}" is compared at equal size and tokens; set budget.match = "parameters"')


def _check_checkpoints(entry: TaskEntry, where: str) -> None:
    """Checkpoints are finetuned only, in the text-to-text form of the task."""
    checkpoint = next(filter(is_checkpoint, entry.start), None)
    if checkpoint and FINETUNE not in entry.adapt:
        raise InputError(f'{where}.adapt: the checkpoint {checkpoint} can only be finetuned; add "{FINETUNE}"')


def _check_drawing(entry: TaskEntry, where: str) -> None:
    """Raise ``InputError`` unless a number of examples is drawn; with draw = "once" validation stays whole."""
    for key in ("draw", "validation_examples"):
        if key in entry.stated() and not any(entry.examples):
            raise InputError(f"{where}.{key}: needs a number of training examples; set examples, or remove this key")
    if entry.validation_examples is not None and entry.draw == ONCE:
        raise InputError(
            f'{where}.validation_examples: draw = "{ONCE}" validates on the whole split; remove one of the two keys'
        )


def _check_prompts(entry: TaskEntry, where: str) -> None:
    """Shots and verbalizers are for prompts, and prompts for pretrained models."""
    if PROMPT not in entry.adapt:
        for key in ("shots", "verbalizers"):
            if key in entry.stated():
                raise InputError(f'{where}.{key}: belongs to adapt = "{PROMPT}"; remove it')
    elif not any(_is_pretraining(start) for start in entry.start):
        raise InputError(f'{where}.adapt: "{PROMPT}" needs a pretraining in start (a checkpoint can only be finetuned)')
