"""Models that read a source and predict one label: the base of classification heads and prompts."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from archbench.architectures.components.states import StateIndex, States
from archbench.architectures.families.family import Family


@dataclass(frozen=True)
class ReadSources:
    """The states (b, d) of sources."""

    states: Tensor

    def rows(self, index: Tensor) -> "ReadSources":
        """The rows at ``index`` (m,), which may repeat or omit rows."""
        return ReadSources(self.states[index])


class OneLabel(Family):
    """Logits (b, 1, v) of a label from f features (b, f) of its source: a mean state, or a score for each label."""

    causal = True
    source_predicts = False

    @abstractmethod
    def state(self, source: Tensor, source_mask: Tensor | None) -> Tensor:
        """The features (b, f) of each source (b, s)."""

    def hidden(
        self,
        source: Tensor | None,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        at: StateIndex | None = None,
    ) -> States:
        """The features of the source (b, 1, f), for a target of one token."""
        assert source is not None and target.shape[1] == 1, "a label is one token"
        return States(None, self.state(source, source_mask)[:, None]).at(at)

    def prefill(self, source: Tensor | None, source_mask: Tensor | None = None) -> ReadSources:
        """Read the source (b, s)."""
        assert source is not None
        return ReadSources(self.state(source, source_mask))

    def decode(self, tokens: Tensor, cache: ReadSources) -> tuple[Tensor, ReadSources]:
        """BOS (b, 1) -> logits (b, 1, v) of the label."""
        return self.logits(cache.states[:, None]).expand(-1, tokens.shape[1], -1), cache
