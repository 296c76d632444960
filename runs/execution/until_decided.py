"""Adds seeds to the architectures of open primary contrasts until all are decided or a largest number is reached.

The rule is written into ``experiment.json``; the report applies it to the tables, so that the same records always give
the same verdicts. Only runs under the first condition and axis of a task are added, with seeds after the largest listed
one.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archbench.runs.experiment.spec import Experiment
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

KEY = "until_decided"  # in ``experiment.json``


@dataclass(frozen=True)
class UntilDecided:
    """``still_open`` tells the architectures of open primary contrasts, by data set, from the records in a folder."""

    max_seeds: int
    still_open: Callable[[Path], Mapping[str, Collection[str]]]

    def check(self, experiment: Experiment) -> None:
        """Raises ``InputError`` where the rule does not fit the listed seeds."""
        for task in experiment.tasks:
            count, last = len(task.seeds), experiment.last_seed(task.name)
            if count < 2:
                raise InputError(f"--until-decided: {task.name} lists one seed, and a test needs two; list more")
            if count > self.max_seeds:
                raise InputError(f"--max-seeds {self.max_seeds}: {task.name} lists more seeds ({count})")
            added = range(last + 1, last + self.max_seeds - count + 1)
            entries = [task, *(entry for entry in experiment.conditions if entry.name == task.name)]
            shared = [seed for entry in entries if entry.tuning for seed in entry.tuning.seeds if seed in added]
            if shared:
                raise InputError(f"tuning.seeds: {shared[0]} would be a seed of the added runs of {task.name}")

    def resumed(self, experiment: Experiment, root: Path) -> Experiment:
        """The experiment with the seeds that the same command has added before."""
        known = _recorded(experiment, root)
        return _with_seeds(experiment, known["added"]) if known.get("max_seeds") == self.max_seeds else experiment

    def record(self, experiment: Experiment, root: Path) -> dict[str, Any]:
        """The rule, and the seeds added so far, for ``experiment.json``."""
        known = _recorded(experiment, root)
        earlier = [*known.get("earlier", ()), *([known["max_seeds"]] if known else [])]
        earlier = [count for count in dict.fromkeys(earlier) if count != self.max_seeds]
        return {
            "max_seeds": self.max_seeds,
            "seeds": {task.name: len(task.seeds) for task in experiment.tasks},
            "last": {task.name: experiment.last_seed(task.name) for task in experiment.tasks},
            "added": experiment.added,
            **({"earlier": earlier} if earlier else {}),
        }

    def further(self, experiment: Experiment, root: Path, say: Say) -> Experiment | None:
        """The experiment with one seed more where contrasts are open; None where none is added."""
        named = self.still_open(root)
        seeds = 1 + max((count for counts in experiment.added.values() for count in counts.values()), default=0)
        most = {task.name: self.max_seeds - len(task.seeds) for task in experiment.tasks}
        growing = {name: names for name, names in named.items() if seeds <= most.get(name, 0)}
        if not growing:
            say(f"{root}: {_ended(named, self.max_seeds)}")
            return None
        where = "; ".join(f"{', '.join(names)} on {name}" for name, names in growing.items())
        say(f"{root}: primary contrasts are open; one more seed of {where}")
        added = {name: dict.fromkeys(names, seeds) for name, names in growing.items()}
        return _with_seeds(experiment, {name: experiment.added.get(name, {}) | added.get(name, {}) for name in most})


def largest(experiment: Experiment, max_seeds: int, name_of: Callable[[str], str]) -> Experiment:
    """The experiment with every seed that may be added; ``name_of`` gives the name of an entered architecture."""
    added = {}
    for task in experiment.tasks:
        extended = [task, *(entry for entry in experiment.conditions if entry.name == task.name and entry.extends)]
        names = {name_of(entered) for entry in extended for entered in entry.architectures}
        declared = [pair for pair in experiment.contrasts if names.issuperset(pair)]
        compared = {name for pair in declared for name in pair} if declared or experiment.lists_contrasts else names
        added[task.name] = dict.fromkeys(sorted(compared), max_seeds - len(task.seeds))
    return _with_seeds(experiment, added)


def _ended(named: Mapping[str, Collection[str]], most: int) -> str:
    if not named:
        return "no primary contrast is open"
    return f"primary contrasts are open after {most} seeds on {', '.join(named)}"


def _with_seeds(experiment: Experiment, added: Mapping[str, Mapping[str, int]]) -> Experiment:
    return experiment.patched({"added": {name: dict(counts) for name, counts in added.items() if counts}})


def _recorded(experiment: Experiment, root: Path) -> dict[str, Any]:
    """The rule in ``root``, if it was stated for the same experiment; empty otherwise."""
    if not (root / "experiment.json").is_file():
        return {}
    head = store.read_experiment(root)
    rule = head.get(KEY)
    return dict(rule) if isinstance(rule, dict) and head.get("experiment") == experiment.digestable() else {}
