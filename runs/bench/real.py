"""Training speed on a real task's examples, whose lengths differ: what either side makes of the padding.

Counted are data tokens: source and target with END; no padding, BOS or cells of a canvas beyond the target.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import record_function

from archbench.architectures.objectives.objective import Batch
from archbench.runs.bench.pairing import Work, alternate
from archbench.runs.bench.setting import BenchSetting, Measurement, measurement
from archbench.runs.bench.shapes import BenchShape
from archbench.runs.bench.sides import PROGRESS, TheirTrainer, trainer
from archbench.runs.bench.windows import IGNORED
from archbench.runs.training.batches import Stream
from archbench.runs.training.step import Trainer
from archbench.tasks.base.example import BOS, MASK, PAD, SPECIALS, Example
from archbench.tasks.base.values import Examples, Prepared

DRAWN = 4096  # examples of theirs that are turned into features before anything is timed
MEGA = 50  # batches among whose examples similar lengths are looked for, as in the trainer of transformers
BATCHES = 3  # at least, in a sample: those of long and of short examples cost differently
ENDLESS = 2**62
DATA = "bench: data"  # the label of reading and collating in a profile

Features = dict[str, list[int]]


def real(setting: BenchSetting, model: str, grouped: bool = False) -> Measurement:
    """Data tokens per second of training on the task: our batches, and their shuffled and padded batches.

    ``grouped``: their batches group examples of similar lengths, as their trainer's ``group_by_length`` does.
    """
    works = steps(setting, model, grouped)
    sides = dict(zip(("ours", "theirs"), map(_several, works), strict=True))
    samples = alternate(sides, setting.pairs, setting.shape.seconds, setting.where.settled)
    facts = {
        "batches": BATCHES,
        "batch_tokens": setting.shape.batch_tokens,
        "their_rows": their_rows(setting.prepared, setting.shape),
    }
    return measurement("grouped" if grouped else "real", model, "tokens/s", samples, **facts)


def _several(work: Work) -> Work:
    return lambda: sum(work() for _ in range(BATCHES))


def steps(setting: BenchSetting, model: str, grouped: bool = False) -> tuple[Work, Work]:
    """A step of training on the next batch of the task, of ours and of theirs -> its data tokens."""
    ours, theirs = setting.models(model, setting.shape.target_length)
    mine = trainer(ours, setting.where, setting.shape)
    return _ours(setting, mine, seed=int(grouped)), _theirs(setting, model, theirs, grouped)


def _ours(setting: BenchSetting, mine: Trainer, seed: int) -> Work:
    batches = our_batches(setting, seed)

    def work() -> float:
        with record_function(DATA):
            batch = next(batches)
        mine.step(batch, 0, PROGRESS).loss.item()
        return batch.tokens

    return work


def _theirs(setting: BenchSetting, model: str, theirs: Any, grouped: bool) -> Work:
    other = TheirTrainer(theirs, setting.where)
    batches = their_batches(setting, model, grouped)

    def work() -> float:
        with record_function(DATA):
            inputs, tokens = next(batches)
            inputs = {name: tensor.to(setting.where.device) for name, tensor in inputs.items()}
        other.step(inputs).item()
        return tokens

    return work


def our_batches(setting: BenchSetting, seed: int = 0) -> Iterator[Batch]:
    """Batches of similar lengths, with ``batch_tokens`` data tokens each, without end."""
    stream = Stream(setting.prepared.train, setting.shape.batch_tokens, seed, ENDLESS)
    return (batch for batch, _ in stream.start())


def their_batches(
    setting: BenchSetting, model: str, grouped: bool = False
) -> Iterator[tuple[dict[str, torch.Tensor], int]]:
    """Shuffled examples, so many a batch, padded to the longest among them -> inputs and data tokens, without end.

    ``grouped``: inputs of similar lengths are together, batches of long and short ones in any order.
    """
    train, rows = setting.prepared.train, their_rows(setting.prepared, setting.shape)
    generator = np.random.default_rng(0)
    drawn = generator.permutation(len(train))[:DRAWN]
    rows = min(rows, len(drawn))
    build = FEATURES[model]
    features = [build(train[int(index)], setting.shape.target_length, generator) for index in drawn]
    lengths = (train.source_lengths + train.target_lengths)[drawn]
    collate, whole = collator(model), len(drawn) // rows * rows
    widths, order = [len(feature["input_ids"]) for feature in features], torch.Generator().manual_seed(0)

    def examples() -> NDArray[np.int64]:
        if grouped:
            from transformers.trainer_pt_utils import get_length_grouped_indices

            return np.array(get_length_grouped_indices(widths, rows, MEGA, order))
        return generator.permutation(len(drawn))

    def batches() -> Iterator[tuple[dict[str, torch.Tensor], int]]:
        while True:
            parts = np.split(examples()[:whole], whole // rows)
            for part in (parts[number] for number in generator.permutation(len(parts))):
                yield collate([dict(features[index]) for index in part]), int(lengths[part].sum())

    return batches()


def their_rows(prepared: Prepared, shape: BenchShape) -> int:
    """How many examples have, in the mean, as many data tokens as a batch of ours."""
    return max(1, round(shape.batch_tokens / _mean_tokens(prepared.train)))


def collator(model: str) -> Callable[[list[Features]], dict[str, torch.Tensor]]:
    """The collator of ``transformers`` that pads inputs with PAD and labels with -100."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({name: index for index, name in enumerate(SPECIALS)}, unk_token=SPECIALS[-1]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=SPECIALS[PAD])
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)

    def padded(features: list[Features]) -> dict[str, torch.Tensor]:
        batch = dict(collate(features))
        batch.pop("token_type_ids", None)
        return batch

    return padded


def _causal(example: Example, canvas: int, generator: np.random.Generator) -> Features:
    source, target = example.source.tolist(), example.target.tolist()
    return {
        "input_ids": [*source, BOS, *target],
        "attention_mask": [1] * (len(source) + 1 + len(target)),
        "labels": [IGNORED] * (len(source) + 1) + target,
    }


def _masked(example: Example, canvas: int, generator: np.random.Generator) -> Features:
    """Source, BOS and the whole canvas; 1 to n cells of the target are hidden, drawn uniformly."""
    source, target = example.source.tolist(), example.target.tolist()
    hidden = set(generator.permutation(len(target))[: generator.integers(1, len(target) + 1)].tolist())
    cells = [MASK if cell in hidden else token for cell, token in enumerate(target)]
    labels = [token if cell in hidden else IGNORED for cell, token in enumerate(target)]
    rest = canvas - len(target)
    return {
        "input_ids": [*source, BOS, *cells, *([MASK] * rest)],
        "attention_mask": [1] * (len(source) + 1 + canvas),
        "labels": [IGNORED] * (len(source) + 1) + labels + [IGNORED] * rest,
    }


def _translated(example: Example, canvas: int, generator: np.random.Generator) -> Features:
    source = example.source.tolist()
    return {"input_ids": source, "attention_mask": [1] * len(source), "labels": example.target.tolist()}


FEATURES = {"gpt2": _causal, "llama": _causal, "bert": _masked, "t5": _translated}


def _mean_tokens(examples: Examples) -> float:
    lengths: NDArray[np.int64] = examples.source_lengths + examples.target_lengths
    return float(lengths.mean())
