"""Classification by prompting: which examples are shown, and the words that stand for each label."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.prompted import Prompt, Prompted
from archbench.architectures.families.size import Limits, Size
from archbench.runs.experiment.validation import nearest, printable
from archbench.runs.plans.plan import Plan
from archbench.runs.training import weight_transfer
from archbench.runs.training.pretraining_objectives import ObjectiveShares
from archbench.runs.training.weight_transfer import PretrainedWeights
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import SPECIALS, UNK
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.base.values import Examples, Prepared
from archbench.tasks.text.rearranged import SPAN_CORRUPTION
from archbench.tasks.text.tokenizers import Tokenizer

BETWEEN: Final = "\n"  # between a source and its label's words, and after these
_KEY: Final = 0x73686F74  # keeps these random numbers apart from other uses of the same seed


def chosen(examples: Examples, shots: int, seed: int) -> list[int]:
    """The positions of the training examples in a prompt: in a random order, as balanced over labels as possible.

    The first of a larger number are those of a smaller one. Raises ``InputError`` where there are fewer examples.
    """
    if shots > len(examples):
        raise InputError(f"shots: {shots}: there are {len(examples):,} training examples; give at most as many")
    if not shots:
        return []
    order = [int(place) for place in seeded_order(len(examples), [_KEY, seed])]
    labels = {place: int(examples[place].target[0]) for place in order}
    counts: Counter[int] = Counter()
    shown: list[int] = []
    for _ in range(shots):
        free = [place for place in order if place not in shown]
        shown.append(min(free, key=lambda place: counts[labels[place]]))
        counts[labels[shown[-1]]] += 1
    return shown


def prompt(
    prepared: Prepared,
    tokenizer: Tokenizer,
    objective: ObjectiveShares,
    shots: int,
    seed: int,
    verbalizers: Mapping[str, str],
) -> Prompt:
    """The prompt of a task for a model that was pretrained with this ``tokenizer`` and ``objective``.

    A model that only ever filled in spans is asked for one (T5). Raises ``InputError`` for labels that the task lacks.
    """
    labels, first = prepared.tokenizer.labels, prepared.tokenizer.label_ids[0]
    for label in verbalizers:
        if label not in labels:
            raise InputError(f"verbalizers: no label {printable(label)}{nearest(label, labels)}")
    translated = _translated(prepared.tokenizer, tokenizer)
    words = [tokenizer.encode(verbalizers.get(label, label)) for label in labels]
    between, before = tokenizer.encode(BETWEEN), list[int]()
    for place in chosen(prepared.train, shots, seed):
        source, target = prepared.train[place].source, prepared.train[place].target
        before += [*(translated[token] for token in source), *between, *words[int(target[0]) - first], *between]
    if set(objective) == {SPAN_CORRUPTION}:
        mark = tokenizer.label_ids[0]
        between, words = [*between, mark], [[mark, *tokens] for tokens in words]
    return Prompt(translated, before, between, words)


def check(made: Callable[[int], Prompt], shots: int, prepared: Prepared, window: int) -> None:
    """Raises ``InputError`` where the longest text does not fit into a window, with the most shots that do.

    ``made`` gives the prompt with a number of shots.
    """
    longest = max(int(part.source_lengths.max()) for part in (prepared.test, prepared.validation))
    length = made(shots).length(longest)
    if length <= window:
        return
    fits = next((count for count in reversed(range(shots)) if made(count).length(longest) <= window), None)
    most = f"at most {fits} fit" if fits is not None else "not even the text alone fits; pretrain with a longer context"
    raise InputError(
        f"shots: {shots}: the longest prompt has {length:,} tokens, but the model was pretrained on windows of "
        f"{window:,}; {most}"
    )


def prompted(prepared: Prepared, pretrained: PretrainedWeights, plan: Plan, size: Size, limits: Limits) -> Prompted:
    """The pretrained model with the prompt of a plan; it reads no more tokens than a window has."""
    tokenizer, usual = pretrained.tokenizer, pretrained.limits
    chosen_prompt = prompt(prepared, tokenizer, pretrained.objective, plan.shots, plan.seed, plan.verbalizers)
    written = chosen_prompt.longest
    window = replace(usual, source_length=usual.source_length + usual.target_length - written, target_length=written)
    model = catalogue.find(plan.variant).builder(tokenizer.labels)(size, window)
    weight_transfer.copy_weights(model, pretrained, tokenizer)
    return Prompted(model, chosen_prompt, prepared.tokenizer.label_ids[0], limits.vocabulary)


def _translated(task: Tokenizer, pretrained: Tokenizer) -> list[int]:
    """The pretrained model's token for each token of a task; labels have none."""
    return [*range(len(SPECIALS)), *[UNK] * len(task.label_ids), *pretrained.text_ids]
