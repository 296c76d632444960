"""Training speed on a real task's examples, whose lengths differ: what either side makes of the padding.

Counted are data tokens: source and target with END; no padding, BOS or cells of a canvas beyond the target.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from archbench.architectures.objectives.objective import Batch
from archbench.benchmarks import work
from archbench.benchmarks.pairing import Measurement, Work, speeds
from archbench.benchmarks.setting import BenchSetting
from archbench.benchmarks.work import IGNORED, Inputs
from archbench.runs.experiment.sections import Training
from archbench.runs.training.batches import Stream
from archbench.tasks.base.example import BOS, MASK, PAD, SPECIALS, Example

DRAWN = 4096  # examples of theirs that are turned into features before anything is timed
MEGA = 50  # batches among whose examples similar lengths are looked for, as in the trainer of transformers
POOL: int = Training.in_files("length_pool")  # batches among whose examples ours looks for similar lengths
BATCHES = 3  # at least, in a sample: those of long and of short examples cost differently
ENDLESS = 2**62

Features = dict[str, list[int]]


def real(setting: BenchSetting, model: str, grouped: bool = False) -> Measurement:
    """Data tokens per second of training on the task: our batches, and their shuffled and padded batches.

    ``grouped``: their batches group examples of similar lengths, as their trainer's ``group_by_length`` does.
    """
    several = {name: _several(step) for name, step in steps(setting, model, grouped).items()}
    samples = setting.alternate(several)
    facts = {"batches": BATCHES, "batch_tokens": setting.shape.batch_tokens, "their_rows": their_rows(setting)}
    return speeds("grouped" if grouped else "real", model, "tokens/s", samples, **facts)


def _several(step: Work) -> Work:
    return lambda: sum(step() for _ in range(BATCHES))


def steps(setting: BenchSetting, model: str, grouped: bool = False) -> dict[str, Work]:
    """A step of training on the next batch of the task, of ours and of theirs -> its data tokens."""
    ours, theirs = setting.models(model, setting.shape.target_length)
    return {
        "ours": work.our_steps(ours, setting.where, setting.shape, our_batches(setting, seed=int(grouped))),
        "theirs": work.their_steps(theirs, setting.where, their_batches(setting, model, grouped)),
    }


def our_batches(setting: BenchSetting, seed: int = 0) -> Iterator[Batch]:
    """Batches of similar lengths, with ``batch_tokens`` data tokens each, without end."""
    stream = Stream(setting.prepared.train, setting.shape.batch_tokens, seed, ENDLESS, POOL)
    return (batch for batch, _ in stream.start())


def their_batches(setting: BenchSetting, model: str, grouped: bool = False) -> Iterator[tuple[Inputs, int]]:
    """Shuffled examples, so many a batch, padded to the longest among them -> inputs and data tokens, without end.

    ``grouped``: inputs of similar lengths are together, batches of long and short ones in any order.
    """
    train, generator = setting.prepared.train, np.random.default_rng(0)
    drawn = generator.permutation(len(train))[:DRAWN]
    features = [FEATURES[model](train[int(index)], setting.shape.target_length, generator) for index in drawn]
    lengths = (train.source_lengths + train.target_lengths)[drawn]
    rows, collate = min(their_rows(setting), len(drawn)), collator()
    orders = _grouped([len(feature["input_ids"]) for feature in features], rows) if grouped else None

    def batches() -> Iterator[tuple[Inputs, int]]:
        while True:
            order = generator.permutation(len(drawn)) if orders is None else next(orders)
            count = len(drawn) // rows
            parts = np.split(order[: count * rows], count)
            for part in (parts[number] for number in generator.permutation(count)):
                yield collate([dict(features[index]) for index in part]), int(lengths[part].sum())

    return batches()


def _grouped(widths: list[int], rows: int) -> Iterator[NDArray[np.int64]]:
    """Orders in which examples of similar lengths are together, for one epoch after the other."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(0)
    while True:
        yield np.array(get_length_grouped_indices(widths, rows, MEGA, generator))


def their_rows(setting: BenchSetting) -> int:
    """How many examples have, in the mean, as many data tokens as a batch of ours."""
    train = setting.prepared.train
    mean = float((train.source_lengths + train.target_lengths).mean())
    return max(1, round(setting.shape.batch_tokens / mean))


def collator() -> Callable[[list[Features]], Inputs]:
    """The collator of ``transformers`` that pads inputs with PAD and labels with -100."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({name: index for index, name in enumerate(SPECIALS)}, unk_token=SPECIALS[-1]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=SPECIALS[PAD])
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
    return lambda features: {name: value for name, value in collate(features).items() if name != "token_type_ids"}


def _causal(example: Example, canvas: int, generator: np.random.Generator) -> Features:
    source, target = example.source.tolist(), example.target.tolist()
    return _features([*source, BOS, *target], [IGNORED] * (len(source) + 1) + target)


def _masked(example: Example, canvas: int, generator: np.random.Generator) -> Features:
    """Source, BOS and the whole canvas; 1 to n cells of the target are hidden, drawn uniformly."""
    source, target = example.source.tolist(), example.target.tolist()
    hidden = set(generator.permutation(len(target))[: generator.integers(1, len(target) + 1)].tolist())
    cells = [MASK if cell in hidden else token for cell, token in enumerate(target)]
    labels = [token if cell in hidden else IGNORED for cell, token in enumerate(target)]
    rest = canvas - len(target)
    return _features(
        [*source, BOS, *cells, *[MASK] * rest], [*[IGNORED] * (len(source) + 1), *labels, *[IGNORED] * rest]
    )


def _translated(example: Example, canvas: int, generator: np.random.Generator) -> Features:
    return _features(example.source.tolist(), example.target.tolist())


def _features(read: list[int], labels: list[int]) -> Features:
    return {"input_ids": read, "attention_mask": [1] * len(read), "labels": labels}


FEATURES = {"gpt2": _causal, "llama": _causal, "bert": _masked, "t5": _translated}
