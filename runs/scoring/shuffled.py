"""Test examples whose sources are exchanged: what a model loses when it reads another example's source.

Targets stay, so the same bytes are scored: `bits_per_byte_shuffled` equals `bits_per_byte` of the same examples for a
model that ignores its source, and is above it for one that uses it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import Example
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.text.splits import Subset

METRIC = "bits_per_byte_shuffled"
EXAMPLES = 64  # the first test examples, alike for all: an encoder's exact likelihood takes a pass per token
_EXCHANGE = 0x65786368  # seeds the exchange of sources


def partners(count: int) -> NDArray[np.int64]:
    """The example whose source each of ``count`` examples reads, (n,): a fixed random cycle, so none keeps its own."""
    cycle = seeded_order(count, [_EXCHANGE, count])
    chosen = np.empty(count, np.int64)
    chosen[cycle] = np.roll(cycle, -1)
    return chosen


@dataclass(frozen=True)
class ExchangedSources:
    """The first ``count`` examples with their own targets and the sources of others."""

    examples: Subset
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        return Example(self.examples[int(self.partners[index])].source, self.examples[index].target)

    @cached_property
    def partners(self) -> NDArray[np.int64]:
        return partners(self.count)

    @property
    def any_differ(self) -> bool:
        """True if any example reads another text than its own source."""
        return any(not np.array_equal(self[i].source, self.examples[i].source) for i in range(self.count))

    @cached_property
    def source_lengths(self) -> NDArray[np.int64]:
        return self.examples.source_lengths[self.partners]

    @cached_property
    def target_lengths(self) -> NDArray[np.int64]:
        return self.examples.target_lengths[: self.count]

    @cached_property
    def target_bytes(self) -> NDArray[np.int64]:
        return self.examples.target_bytes[: self.count]

    def epoch(self, seed: int, epoch: int) -> "ExchangedSources":
        return self
