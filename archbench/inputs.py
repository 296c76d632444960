"""Input handling shared by the command line and ``archbench.compare``: reads inputs, prints lines to stderr."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archbench.runs.execution.until_decided import UntilDecided
    from archbench.runs.experiment.spec import Experiment

OMITTED = {
    "device": "auto",
    "deterministic": False,
    "until_decided": False,
    "on": "local",
}  # left out of the call that repeats a comparison
GO_ON = "run the same command again to resume"


def experiment(
    value: "str | Path | Mapping[str, Any] | Experiment", settings: Mapping[str, Any] | None = None
) -> "Experiment":
    """The experiment that a call names, with its ``set``."""
    from archbench.runs.experiment import spec
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    if isinstance(value, spec.Experiment):
        if settings:
            raise InputError("--set: this experiment is already resolved; give a file, a preset's name or a dictionary")
        return value
    if isinstance(value, Mapping):
        return spec.from_dict(value, settings=settings)
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"experiment: {printable(value)}: expected a file, a preset's name or a dictionary")
    value = os.fspath(value)
    if value in spec.presets() and not Path(value).exists():
        return spec.preset(value, settings)
    return spec.load(value, settings)


def sequential(until_decided: bool, max_seeds: int | None) -> "UntilDecided | None":
    """The rule by which seeds are added to open contrasts; None without it."""
    from archbench.runs.execution.until_decided import UntilDecided
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    if not until_decided and max_seeds is None:
        return None
    if not until_decided or max_seeds is None:
        missing = "--max-seeds" if until_decided else "--until-decided"
        raise InputError(f"{missing}: missing; --until-decided and --max-seeds N go together")
    if isinstance(max_seeds, bool) or not isinstance(max_seeds, int) or max_seeds < 2:
        raise InputError(f"--max-seeds: {printable(max_seeds)}: expected a whole number of at least 2")
    return UntilDecided(max_seeds, _still_open)


def _still_open(root: Path) -> dict[str, list[str]]:
    from archbench.reports.base import tables
    from archbench.reports.questions.pairs import still_open

    return still_open(tables.collect(root))


def number_of_runs(runs: object) -> int | None:
    """How many runs ``--runs`` names; None for "all"."""
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    text = str(runs).strip()
    if text == "all":
        return None
    if isinstance(runs, bool) or not (text.isascii() and text.isdigit()) or not 0 < int(text) < 10**6:
        raise InputError(f'--runs: {printable(runs)}: expected a whole number of at least 1, or "all"')
    return int(text)


def call(experiment: "str | Path | Mapping[str, Any] | Experiment", **options: object) -> str:
    """The call of ``compare`` as Python code, without options at their default."""
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in options.items()}
    changed = {name: value for name, value in plain.items() if value is not None and value != OMITTED.get(name)}
    return f"archbench.compare({', '.join([_code(experiment), *(f'{n}={_code(v)}' for n, v in changed.items())])})"


def _code(value: object) -> str:
    if isinstance(value, Path):
        return repr(str(value))
    return repr(dict(value) if isinstance(value, Mapping) else value)


def out_folder(experiment: "Experiment", out: str | Path | None) -> Path:
    return named_folder("--out", out) or Path("results") / experiment.name


def named_folder(option: str, folder: str | Path | None) -> Path | None:
    """The folder that an option names; an empty name is an error, since it would mean the current folder."""
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise InputError(f"{option}: {printable(folder)}: expected a folder")
    if folder is not None and not str(folder):
        raise InputError(f"{option}: is empty; name a folder")
    return None if folder is None else Path(folder)


def named_file(option: str, file: str | Path | None) -> Path | None:
    """The file that an option names, not a folder."""
    from archbench.tasks.base.errors import InputError

    path = named_folder(option, file)
    if path is not None and path.is_dir():
        raise InputError(f"{option}: {path}: is a folder; name a file in it")
    return path


def say(line: str) -> None:
    from archbench.runs.plans.messages import visible

    print(visible(line), file=sys.stderr, flush=True)
