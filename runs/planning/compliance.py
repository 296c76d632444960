"""Checks a variant against the contract, reports each property, and caches a passed check."""

import contextlib
import hashlib
import importlib
import importlib.metadata
import shlex
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from archbench.runs.base.messages import visible
from archbench.tasks.base import files, fixed_environment
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

if TYPE_CHECKING:
    from archbench.architectures.contract import Check, Result, Trials
    from archbench.architectures.families.size import Limits, Size
    from archbench.architectures.families.variant import Variant

PACKAGES = ("torch", "transformers", "numpy")  # whose versions a remembered pass depends on

STYLES = {"ok": "green", "fail": "bold red", "note": "dim", "found": "red", "summary": "bold"}
PROGRESS_SECONDS = 15.0
WIDEST = 100  # characters of an explanation's lines


class Line(NamedTuple):
    """A line for the terminal; ``kind`` is ok, fail, note, found, why or summary."""

    kind: str
    text: str


def report_lines(variant: "Variant", width: int = WIDEST, trials: "Trials | None" = None) -> Iterator[Line]:
    """Checks every property of the contract and gives its line as soon as it is known, a summary last.

    Below a failed property, lines of at most ``width`` say once what was found and why it matters. For an ablation, the
    properties that it declares to break must fail. ``trials`` (None: the usual ones) sets how many inputs are tried.
    Raises ``InputError`` for a checkpoint.
    """
    from archbench.architectures import contract

    _need_code(variant)
    column = max(len(check.__name__) for check in contract.CHECKS)
    began, results = time.perf_counter(), []
    first: dict[str | None, str] = {}
    for result in contract.results(variant.build, variant.path, contract.CHECKS, trials or contract.USUAL):
        declared = result.name in variant.breaks
        if declared and result.problem is None:
            result = replace(result, problem="it holds, though this ablation says that it breaks it")
        elif declared:
            yield Line("note", f"x     {result.name:{column}}  broken, as this ablation has to: {result.problem}")
            continue
        results.append(result)
        yield from _lines(result, column, width, first.setdefault(result.problem, result.name))
    failed, passed_over = (sum(bool(part) for part in parts) for parts in zip(*map(_states, results), strict=True))
    held, total = len(results) - failed - passed_over, len(contract.CHECKS)
    parts = [f"{held} of {total} properties hold"]
    wrong = [result.name for result in results if result.problem is not None]
    parts += [f"{failed} fail, {wrong[0]} first" if failed > 1 else "1 fails"] if failed else []
    parts += [f"{total - len(results)} are broken as they have to be"] if total > len(results) else []
    parts += [f"{passed_over} do{'' if passed_over > 1 else 'es'} not apply"] if passed_over else []
    yield Line("summary", f"{variant.name}: {', '.join(parts)} ({time.perf_counter() - began:.1f} seconds)")


def show(variant: "Variant", cache: Path, thorough: bool = False) -> int:
    """Prints the ``report_lines``, in colour on a terminal; 0 where every property holds, else 1.

    A full pass is remembered in the folder ``cache``, as by ``hold``; a ``thorough`` one need not be repeated.
    """
    import torch
    from rich.console import Console
    from rich.text import Text

    from archbench.architectures import contract

    trials = contract.THOROUGH if thorough else contract.USUAL

    torch.set_num_threads(1)  # tiny models are slower on more
    console, kinds, key = Console(highlight=False, soft_wrap=True), set(), _key(variant, (trials.name,))
    width = min(console.width, WIDEST) if console.is_terminal else WIDEST
    for kind, text in report_lines(variant, width, trials):
        kinds.add(kind)
        console.print(Text(visible(text), style=STYLES.get(kind, "")))
    if "fail" not in kinds and not variant.breaks and _key(variant, (trials.name,)) == key:
        _record_passed(cache, key)
    return int("fail" in kinds)


def require_contract(
    variant: "Variant",
    cache: Path,
    say: Say,
    lengths: Sequence[tuple[int, int]] = (),
    trials: "Trials | None" = None,
) -> None:
    """Raises ``InputError`` if the variant breaks the contract; a pass is remembered in the folder ``cache``.

    ``lengths`` are further lengths of source and target, in tokens, to check at: those of its tasks. ``trials`` (None:
    thorough ones) sets how many inputs are tried for each property. ``say`` gets a line at the start
    and then every 15 seconds.
    """
    from archbench.architectures import contract

    trials = trials or contract.THOROUGH
    parts: dict[tuple[int | str, ...], Sequence[contract.Check]] = {(trials.name,): contract.CHECKS}
    parts |= {pair: [contract.texts_of(*pair)] for pair in lengths}
    missing = {pair: checks for pair, checks in parts.items() if not _is_remembered(cache, _key(variant, pair))}
    done, total, reported_at = 0, sum(map(len, missing.values())), time.monotonic()
    if missing:
        say(f"{variant.name}: checking the contract of this file once: {_in_words(missing)}")
    for pair, checks in missing.items():
        key = _key(variant, pair)
        for result in contract.results(variant.build, variant.path, checks, trials):
            done += 1
            if time.monotonic() - reported_at > PROGRESS_SECONDS:
                reported_at = time.monotonic()
                say(f"{variant.name}: {done} of {total} checks done")
            if result.problem is not None:
                raise InputError(
                    f"{variant.path}: breaks the contract: {result.name}: {result.problem}; "
                    f'"archbench check {shlex.quote(variant.path)}" explains it'
                )
        if _key(variant, pair) == key:
            _record_passed(cache, key)


def _in_words(missing: "Mapping[tuple[int | str, ...], Sequence[Check]]") -> str:
    """What is checked: the properties that ``archbench check`` counts too, and texts as long as those of the tasks."""
    of_tasks = sum(len(checks) for pair, checks in missing.items() if len(pair) == 2)
    properties = sum(map(len, missing.values())) - of_tasks
    parts = [f"{properties} properties"] if properties else []
    parts += [f"{of_tasks} check{'s' * (of_tasks > 1)} at the lengths of its tasks"] if of_tasks else []
    return " and ".join(parts)


def hold_plan(variant: "Variant", size: "Size", limits: "Limits", native: bool) -> None:
    """Raises ``InputError`` where the variant breaks the contract at the size and lengths of a planned run."""
    from archbench.architectures import contract

    for result in contract.results(variant.build, variant.path, [contract.planned(size, limits, native)]):
        if result.problem is not None:
            raise InputError(f"{variant.path}: breaks the contract at the size of its runs: {result.problem}")


def _need_code(variant: "Variant") -> None:
    if variant.checkpoint is not None:
        raise InputError(f"check: {variant.path} is a checkpoint without a variant to check")


def _states(result: "Result") -> tuple[bool, bool]:
    return result.problem is not None, result.note is not None


def _lines(result: "Result", column: int, width: int, first: str) -> Iterator[Line]:
    """``first`` names the check that found this problem first: one crash can fail many checks."""
    from archbench.architectures import contract

    what = f"{result.name:{column}}  {contract.property_of(result.check)}"
    if result.problem is not None:
        yield Line("fail", f"FAIL  {what}")
        if first != result.name:
            yield Line("found", f"      found: what {first} found")
            return
        yield from (Line("found", line) for line in _wrapped(f"found: {result.problem}", width))
        yield from (Line("why", line) for line in _wrapped(contract.explanation(result.check), width))
    elif result.note is not None:
        yield Line("note", f"-     {result.name:{column}}  does not apply: {result.note}")
    else:
        yield Line("ok", f"ok    {what}")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )


def _key(variant: "Variant", tried: tuple[int | str, ...] = ()) -> str:
    """SHA-256 of everything that decides whether a variant passes these trials.

    ``tried`` is the name of the trials, or a length of source and target.

    Covers its text, other code that it may have loaded, our code, and the versions of libraries.
    """
    from archbench.architectures.catalogue import sources

    return digest([variant.text, repr(tried)], ("architectures",), sources.loaded())


def digest(texts: Sequence[str], folders: Sequence[str], files: Mapping[str, bytes] = MappingProxyType({})) -> str:
    """SHA-256 of texts, of our code in ``folders``, of further files and of the versions that both depend on."""
    hashed = hashlib.sha256()
    ours: dict[str, bytes] = {}
    for folder in folders:
        (root,) = importlib.import_module(f"archbench.{folder}").__path__
        ours |= {f"{folder}/{path.relative_to(root)}": path.read_bytes() for path in sorted(Path(root).rglob("*.py"))}
    versions = [sys.version, *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)]
    named = [*sorted(files.items()), *ours.items()]
    variables = [repr(fixed_environment.declared())] if fixed_environment.declared() else []
    words = (word.encode() for word in (*texts, *versions, *variables))
    for part in (*words, *(part for name, content in named for part in (name.encode(), content))):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


def _is_remembered(cache: Path, key: str) -> bool:
    try:
        return _place(cache, key).read_bytes() == _content(key)
    except OSError:
        return False


def _record_passed(cache: Path, key: str) -> None:
    """Remembers a pass if the variant had this key before and after the checks.

    If the checks made it load more code, another process would not know of that code before it has checked.
    """
    with contextlib.suppress(OSError):  # it will be checked again
        files.write_bytes(_place(cache, key), _content(key))


def _place(cache: Path, key: str) -> Path:
    return cache / "contract" / f"{key}.txt"


def _content(key: str) -> bytes:
    return f"holds the contract {key}\n".encode()
