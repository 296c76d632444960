"""A simulated CUDA device: its tensors lie on the CPU, but what CUDA refuses is refused.

Tensors of two devices do not mix, and a tensor there has no NumPy array. ``waits`` counts how often the host would have
waited.

What it cannot tell: kernels that CUDA lacks or computes otherwise, memory, streams, speed.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
READS = {  # what is not known before the device is done
    *("_local_scalar_dense", "equal", "masked_select", "nonzero"),
    *("_unique2", "bincount", "repeat_interleave", "unique_consecutive", "unique_dim"),
}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class State:
    """How often the host waited, and whether the slowest attention will do."""

    waits = 0
    any_attention = False


class There(Tensor):
    """A tensor that says it is on the device; its numbers are those of ``held``."""

    held: Tensor

    @staticmethod
    def __new__(cls, tensor: Tensor) -> "There":
        wrapper = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            tensor.shape,
            strides=tensor.stride(),
            storage_offset=tensor.storage_offset(),
            dtype=tensor.dtype,
            device=CUDA,
        )
        wrapper.held = tensor
        return wrapper

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})

    def tolist(self) -> Any:
        State.waits += 1
        return self.held.tolist()

    def pin_memory(self, *device: Any) -> Tensor:
        raise RuntimeError("cannot pin a tensor of the device")

    def __getitem__(self, index: Any) -> Tensor:
        """A list is an index that PyTorch would copy to the device without asking anybody."""
        parts = index if isinstance(index, tuple) else (index,)
        moved = tuple(torch.tensor(part, device=CUDA) if isinstance(part, list) else part for part in parts)
        return super().__getitem__(moved)


class _Mode(TorchDispatchMode):
    """Makes tensors there where they are asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


def _done(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operator does, on the CPU, if CUDA would."""
    name, device = func._schema.name.split("::")[1], kwargs.get("device")
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    on_cuda, on_cpu = ([t for t in tensors if isinstance(t, There) is on] for on in (True, False))
    goes = bool(on_cuda) if device is None else torch.device(device).type == "cuda"
    _refused(name, func, args, on_cuda, on_cpu, goes)
    kwargs = {key: value for key, value in kwargs.items() if key not in ("non_blocking", "pin_memory")}
    kwargs |= {} if device is None else {"device": torch.device("cpu")}
    cpu_args, cpu_kwargs = tree_map(_held, args), tree_map(_held, kwargs)
    with no_dispatch():
        result = func(*cpu_args, **cpu_kwargs)
    if name == "copy_":
        return args[0]
    if not goes:
        return result
    written = [value for argument, value in zip(func._schema.arguments, args, strict=False) if _writes(argument)]
    if written and func._schema.returns and _writes(func._schema.returns[0]):
        return written[0]
    return tree_map(lambda leaf: There(leaf) if isinstance(leaf, Tensor) else leaf, result)


def _refused(name: str, func: Any, args: Any, on_cuda: list[Tensor], on_cpu: list[Tensor], goes: bool) -> None:
    """Raise what CUDA would for tensors there and here, and count what the host would wait for."""
    strange = [tensor for tensor in on_cpu if tensor.dim() > 0]  # a single number may be of the host
    if name in ("_to_copy", "copy_"):
        State.waits += bool(on_cuda) and not goes
        return
    if name in INDEXED and isinstance(args[0], There):
        indices = [leaf for leaf in tree_flatten(args[1])[0] if isinstance(leaf, Tensor)]
        if strange or any(index.dtype == torch.bool for index in indices):
            State.waits += 1
        strange = [tensor for tensor in strange if not any(tensor is index for index in indices)]
    if on_cuda and strange:
        raise RuntimeError(f"{func}: tensors on cuda and on the CPU")
    State.waits += bool(on_cuda) and name in READS


def _held(value: Any) -> Any:
    return value.held if isinstance(value, There) else value


def _writes(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """PyTorch's, which chooses a kernel by the device; types have to agree, and there has to be a fast kernel."""
    if torch.is_autocast_enabled("cuda") and q.is_cuda:
        q, k, v = (tensor.to(torch.get_autocast_dtype("cuda")) for tensor in (q, k, v))
        attn_mask = attn_mask if attn_mask is None or attn_mask.dtype == torch.bool else attn_mask.to(q.dtype)
    if not q.dtype == k.dtype == v.dtype or (attn_mask is not None and attn_mask.dtype not in (torch.bool, q.dtype)):
        raise RuntimeError("attention: types differ")
    if enable_gqa:
        if q.is_cuda and not State.any_attention and (attn_mask is not None or q.dtype == torch.float32):
            raise RuntimeError("attention: heads are shared where only the slowest kernel does it")
        k, v = (tensor.repeat_interleave(q.shape[1] // tensor.shape[1], 1) for tensor in (k, v))
    scores = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.dropout(scores.softmax(-1), dropout_p, True).to(v.dtype) @ v


def _moved(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """``nn.Module.to``: what modules share stays shared, and a parameter keeps what was noted on it."""
    device = kwargs.get("device", args[0] if args else None)
    if not isinstance(device, str | torch.device) or torch.device(device).type != "cuda":
        return _to(module, *args, **kwargs)
    new: dict[int, Tensor] = {}
    for submodule in module.modules():
        for tensors in (submodule._parameters, submodule._buffers):
            for name, tensor in tensors.items():
                if tensor is None or isinstance(tensor, There):
                    continue
                if id(tensor) not in new:
                    wrapped: Tensor = There(tensor.detach().clone())
                    if isinstance(tensor, nn.Parameter):
                        wrapped = nn.Parameter(wrapped, tensor.requires_grad)
                        wrapped.__dict__.update(tensor.__dict__)
                    new[id(tensor)] = wrapped
                tensors[name] = new[id(tensor)]
    return module


def _tensor(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    tensor = _plain(data, *args, **kwargs)
    return tensor if device is None else tensor.to(device)


_to, _plain = nn.Module.to, torch.tensor
NAMES: dict[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_name": lambda *device: "none",
    "is_bf16_supported": lambda **options: True,
    "max_memory_allocated": lambda *device: 1,
    "_lazy_init": lambda: None,
} | {name: lambda *args: None for name in ("reset_peak_memory_stats", "synchronize", "manual_seed", "empty_cache")}


@contextlib.contextmanager
def simulated() -> Iterator[None]:
    """Within, there is a device "cuda"."""
    with contextlib.ExitStack() as stack:
        for name, value in NAMES.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(Tensor, "pin_memory", lambda tensor, *device: tensor))
        stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", _attention))
        stack.enter_context(mock.patch.object(nn.Module, "to", _moved))
        stack.enter_context(mock.patch.object(torch, "tensor", _tensor))
        stack.enter_context(_Mode())
        yield
