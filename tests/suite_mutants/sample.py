"""The sample: as many edits of each area, spread over its functions."""

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from suite_mutants.edits import Edit, Source

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("archbench", "architectures", "tasks", "runs", "reports")
PER_FUNCTION = 2
FLOPS = r"flops|tripled|loss_tokens"
AREAS = {  # regular expressions: files, and which functions there
    "budgets": ((r"^runs/planning/(?!isolation)", ""),),
    "FLOPs": (
        (r"^architectures/components/numbers\.py$", ""),
        (r"^architectures/(components|families|objectives)/", FLOPS),
    ),
    "objectives": ((r"^architectures/objectives/", rf"^(?!.*({FLOPS}))"),),
    "training": ((r"^runs/training/", ""),),
    "metrics": ((r"^tasks/metrics/", ""),),
    "statistics": (
        (r"^reports/base/(statistics|predictions)\.py$", ""),
        (r"^reports/(report\.py$|results/|contrasts/|questions/(?!sweeps|shares)|readings/)", ""),
    ),
    "store": (
        (r"^runs/(store|plans)/(store|plan|disk|weights|misplaced|placement)\.py$", ""),
        (r"^runs/scoring/finished", ""),
    ),
}
NAMED = (
    (
        "architectures/families/decoder.py",
        "DecoderOnly.flops",
        "prefix=prefix if self.masked else n",
        "prefix=0.0",
    ),
    (
        "runs/training/train.py",
        "TrainingLoop._evaluate",
        "value < state.best_validation_loss",
        "value <= state.best_validation_loss",
    ),
)


def files() -> list[str]:
    """The source files of all areas."""
    every = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return [path for path in every if any(re.search(part, path) for parts in AREAS.values() for part, _ in parts)]


def area_of(edit: Edit) -> str | None:
    for name, parts in AREAS.items():
        if any(re.search(part, edit.path) and re.search(functions, edit.function) for part, functions in parts):
            return name
    return None


def sample(size: int = 200, seed: int = 0) -> dict[Edit, str]:
    """About ``size`` edits and their areas, the named ones among them.

    Hashes choose: code that changes elsewhere does not change what is drawn here.
    """
    parsed = {path: Source(ROOT, path) for path in files()}
    named = [parsed[path].named(function, before, after) for path, function, before, after in NAMED]
    by_area = defaultdict(list)
    for source in parsed.values():
        for edit in source.edits():
            if (area := area_of(edit)) and not any(_overlap(edit, other) for other in named):
                by_area[area].append(edit)
    per_area = -(-size // len(AREAS))
    sampled = {}
    for area in AREAS:
        fixed = [edit for edit in named if area_of(edit) == area]
        functions = {(edit.path, edit.function) for edit in fixed}
        others = [edit for edit in by_area[area] if (edit.path, edit.function) not in functions]
        chosen = [*fixed, *itertools.islice(_spread(others, parsed, seed), per_area - len(fixed))]
        sampled |= dict.fromkeys(sorted(chosen, key=lambda edit: (edit.path, edit.start)), area)
    return sampled


def _spread(edits: list[Edit], parsed: dict[str, Source], seed: int) -> Iterator[Edit]:
    """One edit of each function, then another of each, of another operator where there is one."""
    functions = defaultdict(list)
    for edit in edits:
        functions[edit.path, edit.function].append(edit)
    order = sorted(functions, key=lambda function: _hash(seed, *function))
    chosen = {function: _varied(functions[function], parsed[function[0]], seed) for function in order}
    for _ in range(PER_FUNCTION):
        for function in order:
            yield from itertools.islice(chosen[function], 1)


def _varied(edits: list[Edit], source: Source, seed: int) -> Iterator[Edit]:
    """The edits in an order by hash, in which operators take turns and no two overlap."""
    kinds = defaultdict(list)
    for edit in sorted(edits, key=lambda edit: _hash(seed, edit.id)):
        kinds[_kind(edit)].append(edit)
    order = sorted(kinds, key=lambda kind: _hash(seed, edits[0].path, edits[0].function, kind))
    accepted: list[Edit] = []
    for edit in (kinds[kind][turn] for turn in range(len(edits)) for kind in order if turn < len(kinds[kind])):
        if source.is_other_code(edit) and not any(_overlap(edit, other) for other in accepted):
            accepted.append(edit)
            yield edit


def _kind(edit: Edit) -> str:
    """The operator, constants and dropped arguments all alike."""
    if re.match(r"\d", edit.operator):
        return "constant"
    return "drop" if edit.operator.startswith("drop-") and edit.operator != "drop-not" else edit.operator


def _overlap(edit: Edit, other: Edit) -> bool:
    return edit.path == other.path and edit.start < other.end and other.start < edit.end


def _hash(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
