"""Checks a variant against the contract, reports each property, and caches a passed check."""

import contextlib
import hashlib
import importlib.metadata
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from archbench import architectures
from archbench.architectures import contract
from archbench.architectures.families.variant import Variant
from archbench.runs.budgets import contract_parts
from archbench.runs.budgets.contract_parts import Key, Part, Shape
from archbench.runs.plans.messages import visible
from archbench.tasks.base import files, fixed_environment
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

PACKAGES = ("torch", "transformers", "numpy")  # whose versions a remembered pass depends on

STYLES = {"ok": "green", "fail": "bold red", "note": "dim", "found": "red", "summary": "bold"}
PROGRESS_SECONDS = 15.0
OF_CHECKS = ("ok", "fail", "note")  # kinds of lines: each check has one of these
WIDEST = 100  # characters of an explanation's lines


class Line(NamedTuple):
    """A line for the terminal; ``kind`` is ok, fail, note, found, why or summary."""

    kind: str
    text: str


def report_lines(variant: Variant, width: int = WIDEST) -> Iterator[Line]:
    """Checks every property of the contract and gives its line as soon as it is known, a summary last.

    Below a failed property, lines of at most ``width`` say once what was found and why it matters. For an ablation, the
    properties that it declares to break must fail. Raises ``InputError`` for a checkpoint.
    """
    _need_code(variant)
    column = max(len(check.__name__) for check in contract.CHECKS)
    began, results = time.perf_counter(), []
    first: dict[str | None, str] = {}
    for result in contract.results(variant.build, variant.path, contract.CHECKS, contract.USUAL):
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


def show(variant: Variant, cache: Path, say: Say) -> int:
    """Prints the ``report_lines``, in colour on a terminal; 0 where every property holds, else 1.

    ``say`` gets the expected time and, if the output is no terminal, the progress every 15 seconds. A full pass is
    remembered in the folder ``cache``, as by ``require_contract``, which then need not repeat it.
    """
    import torch
    from rich.console import Console
    from rich.text import Text

    _need_code(variant)
    torch.set_num_threads(1)  # tiny models are slower on more
    parts = contract_parts.parts()
    (part,) = parts
    console, kinds = Console(highlight=False, soft_wrap=True), set()
    width = min(console.width, WIDEST) if console.is_terminal else WIDEST
    say(f"{variant.name}: checking {contract_parts.in_words(parts.values())}, {contract_parts.time_of(parts.values())}")
    tell = _progress(variant.name, parts.values(), say)
    for kind, text in report_lines(variant, width):
        kinds.add(kind)
        console.print(Text(visible(text), style=STYLES.get(kind, "")))
        if kind in OF_CHECKS and not console.is_terminal:
            tell()
    if "fail" not in kinds and not variant.breaks:
        _record_passed(cache, _key(variant, part))
    return int("fail" in kinds)


def _progress(name: str, parts: Collection[Part], say: Say) -> Callable[[], None]:
    """A function to call after each check of these parts; ``say`` gets a line every 15 seconds."""
    total, expected = sum(len(part.checks) for part in parts), contract_parts.time_of(parts)
    began = reported_at = time.monotonic()
    done = 0

    def tell() -> None:
        nonlocal done, reported_at
        done += 1
        if time.monotonic() - reported_at > PROGRESS_SECONDS:
            reported_at = time.monotonic()
            say(f"{name}: {done} of {total} checks done in {reported_at - began:.0f} s, {expected} in all")

    return tell


def due(
    variant: Variant, cache: Path, planned: Sequence[Shape] = (), trials: contract.Trials | None = None
) -> dict[Key, Part]:
    """The parts of the contract that no pass is remembered of in the folder ``cache``; see ``contract_parts``."""
    parts = contract_parts.parts(planned, trials)
    return {key: part for key, part in parts.items() if not _is_remembered(cache, _key(variant, key))}


def require_contract(
    variant: Variant,
    cache: Path,
    say: Say,
    planned: Sequence[Shape] = (),
    trials: contract.Trials | None = None,
) -> None:
    """Raises ``InputError`` if the variant breaks the contract; a pass is remembered in the folder ``cache``.

    ``planned`` are the models of its runs, whose sizes and lengths are checked too. ``trials`` (None: the usual ones)
    sets how many inputs are tried. ``say`` gets a line at the start and then every 15 seconds.
    """
    missing = due(variant, cache, planned, trials)
    if missing:
        what, expected = contract_parts.in_words(missing.values()), contract_parts.time_of(missing.values())
        say(f"{variant.name}: checking the contract of this file once: {what}, {expected}")
    tell = _progress(variant.name, missing.values(), say)
    for tried, part in missing.items():
        for result in contract.results(variant.build, variant.path, part.checks, part.trials):
            tell()
            if result.problem is not None:
                raise InputError(_broken(variant, part, result))
        _record_passed(cache, _key(variant, tried))


def _broken(variant: Variant, part: Part, result: contract.Result) -> str:
    advice = "" if part.where else f'; "archbench check {shlex.quote(variant.path)}" explains it'
    return f"{variant.path}: breaks the contract{part.where}: {result.name}: {result.problem}{advice}"


def _need_code(variant: Variant) -> None:
    if variant.checkpoint is not None:
        raise InputError(f"check: {variant.path} is a checkpoint without a variant to check")


def _states(result: contract.Result) -> tuple[bool, bool]:
    return result.problem is not None, result.note is not None


def _lines(result: contract.Result, column: int, width: int, first: str) -> Iterator[Line]:
    """``first`` names the check that found this problem first: one crash can fail many checks."""
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


def _key(variant: Variant, tried: Key) -> str:
    """SHA-256 of everything that decides whether a variant passes this part of the contract.

    Covers its text, which stands for the modules that it imports too, our code, and the versions of libraries.
    """
    hashed, (root,) = hashlib.sha256(), architectures.__path__
    ours = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(Path(root).rglob("*.py"))}
    versions = [sys.version, *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)]
    variables = [repr(fixed_environment.declared())] if fixed_environment.declared() else []
    words = (word.encode() for word in (variant.text, repr(tried), *versions, *variables))
    for part in (*words, *(part for name, content in ours.items() for part in (name.encode(), content))):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


def _is_remembered(cache: Path, key: str) -> bool:
    try:
        return _place(cache, key).read_bytes() == _content(key)
    except OSError:
        return False


def _record_passed(cache: Path, key: str) -> None:
    with contextlib.suppress(OSError):  # it will be checked again
        files.write_bytes(_place(cache, key), _content(key))


def _place(cache: Path, key: str) -> Path:
    return cache / "contract" / f"{key}.txt"


def _content(key: str) -> bytes:
    return f"holds the contract {key}\n".encode()
