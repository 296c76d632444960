"""The examples that a run will read and their exact cost, known before training: the seed alone fixes the order.

A cost is a number for each example: FLOPs, or tokens with a loss.

The mean over all examples is not enough. A budget of less than an epoch reads some of the batches, each of examples of
similar lengths, and what a token costs depends on these. For an encoder, which has as many mask positions for a short
example as for a long one, it varies by about a hundredth from seed to seed.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from archbench.runs.training.batches import EncodedExamples, Indices, plan_epoch

Floats = NDArray[np.float64]
Cost = Callable[[Floats, Floats], Floats]  # source and target lengths (n,) -> cost of each example (n,)


class Reading:
    """The examples in the order in which a ``training.batches.Stream`` of the same arguments gives them."""

    def __init__(self, examples: EncodedExamples, batch_tokens: int, seed: int, length_pool: int) -> None:
        self.examples, self.batch_tokens, self.seed, self.length_pool = examples, batch_tokens, seed, length_pool
        self._orders: dict[int, Indices] = {}

    def total(self, tokens: int, cost: Cost) -> float:
        """Cost of the examples of a stream of so many data tokens."""
        total, read = 0.0, 0
        for epoch, examples, costs in self._epochs(cost):
            lengths = examples.source_lengths + examples.target_lengths
            if read + int(lengths.sum()) >= tokens:
                order = self._order(examples, epoch)
                last = int(np.searchsorted(read + np.cumsum(lengths[order]), tokens))
                return total + float(costs[order[: last + 1]].sum())
            total, read = total + float(costs.sum()), read + int(lengths.sum())
        raise AssertionError("epochs do not end")

    def tokens(self, wanted: float, cost: Cost) -> int:
        """The data tokens of the examples that, read in order, cost nearest to ``wanted``."""
        total, read = 0.0, 0
        for epoch, examples, costs in self._epochs(cost):
            lengths = examples.source_lengths + examples.target_lengths
            if total + float(costs.sum()) >= wanted:
                order = self._order(examples, epoch)
                last = int(np.abs(total + np.cumsum(costs[order]) - wanted).argmin())
                return read + int(lengths[order[: last + 1]].sum())
            total, read = total + float(costs.sum()), read + int(lengths.sum())
        raise AssertionError("epochs do not end")

    def _epochs(self, cost: Cost) -> Iterator[tuple[int, EncodedExamples, Floats]]:
        """Every epoch's number, its examples and the cost of each of them (n,)."""
        known, epoch = None, 0
        while True:
            examples = self.examples.epoch(self.seed, epoch)
            if examples is not known:  # windows of running text are cut anew
                source, target = examples.source_lengths, examples.target_lengths
                known, costs = examples, cost(source.astype(np.float64), target.astype(np.float64))
            yield epoch, examples, costs
            epoch += 1

    def _order(self, examples: EncodedExamples, epoch: int) -> Indices:
        if epoch not in self._orders:
            lengths = examples.source_lengths, examples.target_lengths
            plan = plan_epoch(*lengths, self.batch_tokens, self.seed, epoch, self.length_pool)
            self._orders[epoch] = np.concatenate(plan)
        return self._orders[epoch]
