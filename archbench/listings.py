"""The output of ``archbench list``: names, each with a description."""

from collections.abc import Callable
from types import MappingProxyType


def architectures() -> dict[str, str]:
    from archbench.architectures.catalogue import catalogue
    from archbench.architectures.families.variant import STOCK

    described = STOCK | {name: f"from another package: {value}" for name, value in catalogue.offered().items()}
    return {name: described.get(name) or catalogue.find(name).document for name in catalogue.names()}


def ablations() -> dict[str, str]:
    from archbench.architectures.catalogue import catalogue

    return {name: catalogue.find(name).document for name in catalogue.ablated()}


def tasks() -> dict[str, str]:
    from archbench.tasks.builtin_data import builtin

    return {entry.name: f"{entry.description} [{', '.join(entry.kinds)}]" for entry in builtin.listing()}


def kinds() -> dict[str, str]:
    from archbench.tasks.kinds import registry

    described = {name: kind.does for name, kind in registry.BUILTIN.items()}
    return described | {name: f"from another package: {value}" for name, value in sorted(registry.offered().items())}


def metrics() -> dict[str, str]:
    from archbench.tasks.metrics import builtin, registry

    described = {name: metric.meaning for name, metric in builtin.TEXTS.items()}
    return described | {name: f"from another package: {value}" for name, value in sorted(registry.offered().items())}


def presets() -> dict[str, str]:
    from archbench.runs.experiment import spec

    return spec.presets()


LISTS: MappingProxyType[str, Callable[[], dict[str, str]]] = MappingProxyType(
    {
        "architectures": architectures,
        "ablations": ablations,
        "tasks": tasks,
        "kinds": kinds,
        "metrics": metrics,
        "presets": presets,
    }
)
