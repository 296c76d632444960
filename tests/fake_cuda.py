"""A training step of each family on tensors of CUDA that have no numbers; prints JSON of what the operators were given.

usage: python -m tests.fake_cuda LIBRARY

PyTorch's own rules for devices, types and shapes apply (``FakeTensorMode``): tensors of two devices are refused, and so
is everything that would read a number. The library tells PyTorch that there is a device, as for ``simulated_cuda``.
"""

import json
import sys
from collections import defaultdict
from typing import Any, cast
from unittest import mock

from tests.simulated_work import load

FAMILIES = ("decoder", "encoder", "encoder-decoder")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("float32", "bf16")


def main(library: str) -> None:
    load(library)
    steps = [(f, o, p) for f in FAMILIES for o in OPTIMIZERS for p in PRECISIONS]
    print(json.dumps({" ".join(step): stepped(*step) for step in steps}))


def stepped(family: str, optimizer_name: str, precision: str) -> dict[str, Any]:
    """Type and device of a step's loss, gradients and weights, and of what each operator of both passes returned."""
    import torch
    from torch import Tensor
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn import functional as F
    from torch.utils._python_dispatch import TorchDispatchMode

    from archbench.architectures.catalogue import catalogue
    from archbench.architectures.families.size import Limits, Size
    from archbench.architectures.objectives.objective import Batch, LossInputs
    from archbench.runs.experiment.sections import Training
    from archbench.runs.training.step import Trainer, TrainingStep
    from archbench.runs.updates import optimizer

    types: defaultdict[str, set[str]] = defaultdict(set)

    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                types[func._schema.name.split("::")[1]].add(f"{result.dtype} {result.device}")
            return result

    def attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        types["attention"].update(f"{tensor.dtype} {tensor.device}" for tensor in (q, k, v))
        return fused(q, k, v, **options)

    fused, generator = F.scaled_dot_product_attention, torch.Generator().manual_seed(1)
    source, target = (torch.randint(8, 24, (6, width), generator=generator) for width in (5, 4))
    batch = Batch(source, target, None, torch.arange(4) < torch.tensor([[1], [2], [3], [4], [4], [2]]))
    model = catalogue.find(family).build(Size(16, 2, 2, 32), Limits(24, 5, 4))
    inputs = model.objective.prepare(model, batch, generator, True)  # in the host's memory, as in every step
    training, bf16 = Training(optimizer=optimizer_name, dropout=0.1), precision == "bf16"
    pinned = mock.patch.object(Tensor, "pin_memory", lambda tensor: tensor)
    seeded = mock.patch.object(torch.cuda, "manual_seed")
    autocast = mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    multiplied = mock.patch.object(torch.cuda, "is_bf16_supported", lambda **options: True)
    watched = mock.patch.object(F, "scaled_dot_product_attention", attention)
    tokens = mock.patch.object(LossInputs, "tokens", inputs.tokens)  # of the host's memory, which has numbers
    with pinned, seeded, autocast, multiplied, watched, tokens, FakeTensorMode(allow_non_fake_inputs=True):
        _move(model)
        step = TrainingStep(model, model.objective, torch.ones(24, dtype=torch.bool).to("cuda:0"))
        trainer = Trainer(step, optimizer.build(model, training, bf16=bf16), cast(Any, None), training, bf16=bf16)
        with Recorded():
            loss = trainer._gradient(inputs, 0)
        gradients = {f"{p.grad.dtype} {p.grad.device} {p.grad.shape == p.shape}" for p in trainer.parameters}
        norm = trainer._update(1.0)
        weights = {f"{p.dtype} {p.device}" for p in trainer.parameters}
    return {
        "loss": [f"{value.dtype} {value.device} {list(value.shape)}" for value in (loss, norm)],
        "gradients": sorted(gradients),
        "weights": sorted(weights),
        "operators": {name: sorted(found) for name, found in types.items()},
    }


def _move(model: Any) -> None:
    """Its parameters and buffers to the device; what modules share stays shared."""
    from torch import nn

    moved: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and id(tensor) not in moved:
                    there = tensor.detach().to("cuda:0")
                    moved[id(tensor)] = nn.Parameter(there) if isinstance(tensor, nn.Parameter) else there
                    moved[id(tensor)].__dict__.update(tensor.__dict__)
                tensors[name] = tensor if tensor is None else moved[id(tensor)]


if __name__ == "__main__":
    main(*sys.argv[1:])
