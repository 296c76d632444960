"""Tries edits, and what share of them the suite notices."""

import hashlib
import itertools
import json
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite_mutants.checkout import Checkout, Ended, copied
from suite_mutants.coverage_map import Map
from suite_mutants.edits import Edit
from suite_mutants.sample import ROOT

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
OUTCOMES = Path(__file__).with_name("outcomes.jsonl")  # committed; what killed an edit before is tried first
NAMED = 0.05  # tests in files that are named after a module, or import it, count as so much quicker in the order
START = 30.0  # seconds in which pytest is there, at most
CRASHED = {2: "collecting the tests", 3: "pytest itself", 4: "importing"}
Outcome = dict[str, Any]


def run(edits: Mapping[Edit, str], test_map: Map, out: Path, limit: float, cap: float, confirm: bool) -> None:
    """Tries the edits that ``out`` does not have yet, in an order by hash, and adds a line for each.

    The test that killed an edit before is tried first. Raises ``ValueError`` where a source file is not what the map
    was made of.
    """
    done = {outcome["id"] for outcome in read([out])} if out.exists() else set()
    killers = {outcome["id"]: outcome["by"] for outcome in (read([OUTCOMES]) if OUTCOMES.exists() else [])}
    with copied() as checkout:
        sound: dict[str, bool] = {}
        for edit, area in sorted(edits.items(), key=lambda item: hashlib.sha256(item[0].id.encode()).digest()):
            if edit.id not in done:
                outcome = tried(edit, test_map, checkout, limit, cap, killers.get(edit.id, ""))
                if confirm and outcome["outcome"] == "killed" and outcome["by"] in test_map.seconds:
                    outcome["confirmed"] = _passes(outcome["by"], checkout, limit, sound)
                outcome = {"id": edit.id, "area": area, **outcome}
                with open(out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(outcome) + "\n")
                print(f"{outcome['outcome']:12} {outcome['seconds']:6.1f} s  {edit.id}  {outcome['by']}", flush=True)


def tried(edit: Edit, test_map: Map, checkout: Checkout, limit: float, cap: float, killer: str = "") -> Outcome:
    """What the tests of an edit say of it: the ``killer`` of earlier times first, then the narrow and quick ones."""
    source = (ROOT / edit.path).read_text(encoding="utf-8")
    _check_age(edit.path, source, test_map)
    tests, notes = chosen(edit, test_map, cap)
    tests = [*(test for test in [killer] if test in test_map.seconds), *(test for test in tests if test != killer)]
    if not tests:
        return {"outcome": "not covered", "by": "", "seconds": 0.0, "tests": 0, "notes": notes}
    usual, start = test_map.cost(tests), time.monotonic()
    allowed = min(limit, 3 * usual + 2 * START)
    checkout.write(edit.path, edit.applied(source))
    try:
        pytest_run = _run(tests, checkout, allowed)
    finally:
        checkout.write(edit.path, source)
    state, by = _verdict(pytest_run, 2 * usual + START < allowed)
    seconds = round(time.monotonic() - start, 1)
    selected = sum(record.get("selected", 0) for record in pytest_run.records)
    notes += [f"{len(tests) - selected} tests not found"] * (selected < len(tests))
    return {"outcome": state, "by": by, "seconds": seconds, "tests": len(tests), "notes": notes}


def chosen(edit: Edit, test_map: Map, cap: float) -> tuple[list[str], list[str]]:
    """The tests of an edit in order, and what is to be known about this choice.

    First those that run its lines, then the others in the same files: what a file keeps from one test to the next, the
    map knows of the first one alone.
    """
    tests, notes = test_map.running(edit), []
    if edit.at_import or not tests:
        mentioning = test_map.mentioning(edit.path)
        notes = [f"{len(mentioning - tests)} tests by the name of the module"]
        tests |= mentioning
    near = {
        test
        for file, file_tests in test_map.files().items()
        if any(test.startswith(f"{file}::") for test in tests)
        for test in file_tests
    } - tests
    named = test_map.mentioning(edit.path)
    ordered = [*_ordered(tests, test_map, named), *_ordered(near, test_map, named)]
    selected = list(_cheapest(ordered, test_map, cap))
    notes += [f"capped: {len(selected)} of {len(ordered)} tests"] * (len(selected) < len(ordered))
    return selected, notes


def _ordered(tests: Iterable[str], test_map: Map, named: Container[str]) -> list[str]:
    """By lines run times seconds, and those ``named`` after the module earlier.

    Tests that share a fixture stay together, or it would be made again.
    """
    groups = defaultdict(list)
    for test in sorted(tests):
        groups[test.partition("::")[0] if test_map.uses[test] else test].append(test)

    def rank(group: Sequence[str]) -> float:
        share = NAMED if any(test in named for test in group) else 1.0
        return share * max(test_map.cost(group), 0.01) / len(group) * min(test_map.size[test] + 1 for test in group)

    inside = [sorted(group, key=lambda test: rank([test])) for group in groups.values()]
    return list(itertools.chain.from_iterable(sorted(inside, key=rank)))


def _cheapest(tests: Sequence[str], test_map: Map, cap: float) -> Iterator[str]:
    """The tests in their order, but for those with which the unedited seconds would be more than ``cap``.

    The first is there in any case.
    """
    spent, fixtures = 0.0, set[str]()
    for test in tests:
        new = set(test_map.uses[test]) - fixtures
        cost = test_map.seconds[test] + sum(test_map.fixtures.get(name, 0.0) for name in new)
        if not spent or spent + cost <= cap:
            spent, fixtures = spent + cost, fixtures | new
            yield test


def _run(tests: Sequence[str], checkout: Checkout, limit: float) -> Ended:
    listed = checkout.root.parent / "tests.json"
    listed.write_text(json.dumps(tests))
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    return checkout.pytest(["-x", *files], limit, {"SUITE_MUTANTS_TESTS": str(listed)})


def _verdict(pytest_run: Ended, is_endless: bool) -> tuple[str, str]:
    """The outcome and what decided it; ``is_endless``: who reaches the time limit took far longer than unedited."""
    failed = [record["test"] for record in pytest_run.records if record.get("outcome") == "failed"]
    if failed:
        return "killed", failed[0]
    if pytest_run.status == 0:
        return "survived", ""
    if pytest_run.status is None:
        return ("killed" if is_endless else "unfinished"), "the time limit"
    if pytest_run.status == 5:
        return "unfinished", "no test was found"
    return "killed", CRASHED.get(pytest_run.status, f"exit status {pytest_run.status}")


def _passes(test: str, checkout: Checkout, limit: float, sound: dict[str, bool]) -> bool:
    """Whether a test passes in the unedited copy."""
    if test not in sound:
        sound[test] = _run([test], checkout, limit).status == 0
    return sound[test]


def _check_age(path: str, source: str, test_map: Map) -> None:
    if hashlib.sha256(source.encode()).hexdigest() != test_map.hashes.get(path):
        raise ValueError(f"{path} has changed since the map was made: make it again")


def read(files: Iterable[Path]) -> list[Outcome]:
    """The outcomes in files of ``score``; the last one of each edit."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return list({outcome["id"]: outcome for outcome in map(json.loads, lines)}.values())


def report(outcomes: Sequence[Outcome], edits: Mapping[str, Edit]) -> Iterator[str]:
    """A row for each area, and the edits that no test noticed."""
    reasons = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    areas = list(dict.fromkeys(outcome["area"] for outcome in outcomes))
    yield "| area | edits | equivalent | killed | survived | not covered | unfinished | score |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for area in areas:
        yield _row(area, [outcome for outcome in outcomes if outcome["area"] == area], reasons)
    yield _row("**all**", outcomes, reasons)
    for state in ("survived", "not covered", "unfinished"):
        selected = [outcome for outcome in outcomes if outcome["outcome"] == state and outcome["id"] not in reasons]
        yield from [f"\n{state.capitalize()}:\n"] if selected else []
        yield from (_line(outcome, edits) for outcome in selected)
    yield from ["\nEquivalent:\n"] if reasons else []
    yield from (f"- `{name}`: {reason}" for name, reason in reasons.items())
    wrong = [outcome for outcome in outcomes if outcome["outcome"] == "killed" and outcome["id"] in reasons]
    yield from (f"\nCalled equivalent, but killed by {outcome['by']}: `{outcome['id']}`" for outcome in wrong)
    unsound = [outcome for outcome in outcomes if outcome.get("confirmed") is False]
    yield from (f"\nIts test fails without it too: `{outcome['id']}` ({outcome['by']})" for outcome in unsound)


def _row(name: str, outcomes: Sequence[Outcome], reasons: Mapping[str, str]) -> str:
    counted = Counter(outcome["outcome"] for outcome in outcomes if outcome["id"] not in reasons)
    judged = counted["killed"] + counted["survived"] + counted["not covered"]
    share = f"{counted['killed'] / judged:.0%}" if judged else ""
    states = " | ".join(str(counted[state]) for state in ("killed", "survived", "not covered", "unfinished"))
    return f"| {name} | {len(outcomes)} | {len(outcomes) - counted.total()} | {states} | {share} |"


def _line(outcome: Outcome, edits: Mapping[str, Edit]) -> str:
    edit = edits.get(outcome["id"])
    change = f" line {edit.line}: {edit.change}" if edit else ""
    notes = "; ".join([f"{outcome['tests']} tests", *outcome["notes"]])
    return f"- `{outcome['id']}`{change} ({notes})"
