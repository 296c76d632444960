"""A pytest plugin that stands alone: which test runs, how long each takes, what came of it, and in what order.

A line is run by the test during which it is run; lines that a shared fixture runs belong to the fixture, so to every
test that uses it. Environment: ``SUITE_MUTANTS_RECORD`` is the folder of the records, ``SUITE_MUTANTS_TESTS`` a JSON
list of the tests to run, in order (without it all).
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = ("class", "module", "package")
FOLDER = Path(os.environ["SUITE_MUTANTS_RECORD"])
_contexts = [""]
_of_fixtures: dict[str, float] = defaultdict(float)  # seconds in shared fixtures that a test was the first to use


def fixture_id(definition: Any) -> str:
    return f"fixture {definition.baseid}::{definition.argname}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    file = os.environ.get("SUITE_MUTANTS_TESTS")
    if file:
        places = {test: place for place, test in enumerate(json.loads(Path(file).read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in places), key=lambda item: places[item.nodeid])
        _write({"selected": len(items)})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    definitions = [chain[-1] for chain in item._fixtureinfo.name2fixturedefs.values()]  # type: ignore[attr-defined]
    _write(
        {
            "test": item.nodeid,
            "fixtures": [fixture_id(definition) for definition in definitions if definition.scope in SHARED],
        }
    )
    _switch(item.nodeid)
    yield
    _switch("")


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[None]:
    if fixturedef.scope not in SHARED:
        yield
        return
    test, before, start = _contexts[0], _contexts[-1], time.perf_counter()
    _contexts.append(fixture_id(fixturedef))
    _tell(_contexts[-1])
    yield
    _contexts.pop()
    _tell(before)
    seconds = time.perf_counter() - start
    _of_fixtures[test] += seconds if len(_contexts) == 1 else 0.0
    _write({"fixture": fixture_id(fixturedef), "seconds": seconds})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "xdist.dsession" in sys.modules and not os.environ.get("PYTEST_XDIST_WORKER"):
        return  # each worker writes its own
    seconds = report.duration - (_of_fixtures[report.nodeid] if report.when == "setup" else 0.0)
    _write({"test": report.nodeid, "when": report.when, "seconds": max(seconds, 0.0), "outcome": report.outcome})


def pytest_sessionfinish() -> None:
    if current := _coverage():
        current.save()  # a worker of xdist may end without


def _switch(test: str) -> None:
    _contexts[:] = [test]
    _tell(test)


def _tell(context: str) -> None:
    if current := _coverage():
        current.switch_context(context)


def _coverage() -> Any:
    return sys.modules["coverage"].Coverage.current() if "coverage" in sys.modules else None


def _write(record: dict[str, Any]) -> None:
    with open(FOLDER / f"{os.getpid()}.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
