"""One example read with recorded attention: the tokens along each axis, and the computation of every block."""

from dataclasses import dataclass

import torch

from archbench.architectures import probes
from archbench.architectures.probes import Axis, Layer
from archbench.runs.inside.subject import InspectedRun, batch
from archbench.tasks.base.example import BOS


@dataclass(frozen=True)
class ExampleReading:
    """The passes through the blocks, and the token ids along the axes; ``source`` is what cross-attention reads."""

    layers: tuple[Layer, ...]
    axes: dict[Axis, list[int]]
    width: int  # tokens of the source, where both stand in one sequence

    def keys(self, part: str, layer: Layer) -> list[int]:
        """The tokens that an attention of the layer looks at."""
        return self.axes["source"] if part == "cross" else self.axes[layer.axis]


@torch.no_grad()
def read(subject: InspectedRun, pair: tuple[list[int], list[int]]) -> ExampleReading:
    """Reads one example as its objective shows it to the model."""
    model = subject.run.model
    inputs = model.objective.example_inputs(model, batch([pair]))
    with probes.watched(model) as layers:
        model.hidden(*inputs)
    source, target = inputs.source[0].tolist(), inputs.target[0].tolist()
    axes: dict[Axis, list[int]] = {"both": source + target, "source": source or [BOS], "target": target}
    return ExampleReading(tuple(layers), axes, len(source))
