"""What every test runs under: one thread, off line, its own cache, the same examples from hypothesis each time."""

import fnmatch
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; child processes inherit it
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest
from hypothesis import settings

# Tests write thousands of small files, each flushed to disk: where there is a file system in memory, they go there.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

settings.register_profile("archbench", deadline=None, derandomize=True)
settings.load_profile("archbench")


@pytest.fixture
def any_rate_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted comparisons have no trials: their claims are judged as if each side's rate was tuned."""
    from archbench.reports.claims import standards

    monkeypatch.setattr(standards, "tuned", lambda *_: ())


FAULTS: dict[tuple[str, str], int] = {}  # that were tried, what came of it, and how many times


TIERS = Path(__file__).with_name("tiers.toml")


def _names(entry: str, test: str) -> bool:
    return fnmatch.fnmatchcase(test, entry.removeprefix("!").replace("[", "[[]"))


def _file(name: str) -> str:
    return name.removeprefix("!").partition("::")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests that `tiers.toml` lists; when everything is collected, each entry has to name some test."""
    tiers = tomllib.loads(TIERS.read_text())
    by_file: dict[str, dict[str, list[str]]] = {}
    for tier, entries in tiers.items():
        for entry in entries:
            by_file.setdefault(_file(entry), {}).setdefault(tier, []).append(entry)
    used = set()
    for item in items:
        name = item.nodeid.rpartition("tests/")[2]
        for tier, entries in by_file.get(_file(name), {}).items():
            matching = [entry for entry in entries if _names(entry, name)]
            used.update(matching)
            if matching and not matching[-1].startswith("!"):
                item.add_marker(tier)
    whole = not config.option.file_or_dir and not config.option.ignore and not config.option.deselect
    unused = {entry for entries in tiers.values() for entry in entries} - used
    if whole and unused:
        raise pytest.UsageError(f"{TIERS.name}: no test is named {min(unused)}; correct or remove the entry")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", action="store_true", help="print a table of the faults tried by tests marked `fault`")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What a test marked ``fault(what, outcome)`` has tried once it passes; its property ``times`` says how often."""
    outcome: Any = yield
    marker = item.get_closest_marker("fault")
    if marker is not None:
        outcome.get_result().user_properties.append(("fault", marker.args))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    properties = dict(report.user_properties)
    if report.when == "call" and report.passed and "fault" in properties:
        what, outcome = properties["fault"]
        FAULTS[what, outcome] = FAULTS.get((what, outcome), 0) + int(str(properties.get("times", 1)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if terminalreporter.config.getoption("--faults"):
        lines = ["| fault | times | what happened |", "| --- | ---: | --- |"]
        lines += [f"| {what} | {times:,} | {outcome} |" for (what, outcome), times in FAULTS.items()]
        terminalreporter.write("\n".join([*lines, ""]))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep matplotlib's list of fonts from one test run to the next: making it takes seconds."""
    os.environ["MPLCONFIGDIR"] = str(config.rootpath / ".pytest_cache" / "matplotlib")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of this test process, empty at first: nothing is read from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ARCHBENCH_CACHE", str(folder))
        patched.setenv("HF_HOME", str(folder / "huggingface"))
        yield folder


@pytest.fixture(autouse=True)
def one_thread_and_seed() -> None:
    """One thread: more give other rounding, and are slow beside other test processes. One seed for torch."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def quick_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` and `compare` try few inputs of each property; tests of what more find name their trials."""
    if "torch" in sys.modules:
        from archbench.architectures import contract

        monkeypatch.setattr(contract, "USUAL", replace(contract.QUICK, name="usual"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, for tests marked so."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()
