"""Hooks and parametrizations of a model's modules, which change what they compute from their weights."""

from torch import nn
from torch.nn.utils import parametrize

from archbench.tasks.base.errors import InputError

MODULE_HOOKS = {
    "_forward_pre_hooks": "forward pre-hook",
    "_forward_hooks": "forward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_backward_hooks": "backward hook",
}
KNOWN = ("torch", "transformers")
TENSOR_HOOKS = {"_backward_hooks": "gradient hook", "_post_accumulate_grad_hooks": "gradient hook"}
REMOVE_HOOK = "remove it with the handle that registering it returned"
REMOVE_NORM = "remove it with torch.nn.utils, for example remove_weight_norm or prune.remove, which keeps its effect"
REMOVE_PARAMETRIZATION = "call torch.nn.utils.parametrize.remove_parametrizations, which keeps its effect"
REMOVE_CLASS = "load the model with a class of transformers, or write a variant"
REMOVE_FORWARD = "delete it from the module, or load the model anew"


def refuse_attached(model: nn.Module) -> None:
    """Raises ``InputError`` for the first module with a hook, a parametrization, or a forward method of the user's.

    None of them can be carried over to another model: what is converted is classes, settings and weights.
    """
    for name, module in model.named_modules():
        attached = _attached(module)
        if attached:
            what, remedy = attached
            raise InputError(
                f"from_transformers: {name or 'the model'} ({type(module).__name__}) has {what}, which the converted "
                f"model would not have; {remedy}"
            )


def _attached(module: nn.Module) -> tuple[str, str] | None:
    """Description of what is attached to a module itself, and how to remove it; None where there is nothing."""
    if parametrize.is_parametrized(module):
        return f"a parametrization of {', '.join(module.parametrizations)}", REMOVE_PARAMETRIZATION  # type: ignore[arg-type]
    for kind, title in MODULE_HOOKS.items():
        for hook in vars(module)[kind].values():
            from_torch = type(hook).__module__.startswith("torch.nn.utils")  # weight_norm, spectral_norm, pruning
            return f"a {title} ({_named(hook)})", REMOVE_NORM if from_torch else REMOVE_HOOK
    if type(module).forward.__module__.partition(".")[0] not in KNOWN:
        return f"a class with a forward method of its own ({type(module).__qualname__})", REMOVE_CLASS
    if "forward" in vars(module):
        return "a forward method of its own", REMOVE_FORWARD
    for name, parameter in module.named_parameters(recurse=False):
        for kind, title in TENSOR_HOOKS.items():
            if getattr(parameter, kind, None):
                return f"a {title} on its {name}", REMOVE_HOOK
    return None


def _named(hook: object) -> str:
    return str(getattr(hook, "__name__", type(hook).__name__))
