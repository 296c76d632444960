"""Which tests run a line, and how long they take."""

import ast
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from suite_mutants.checkout import Checkout, Ended, copied
from suite_mutants.edits import Edit, Source
from suite_mutants.sample import FOLDERS, ROOT, files

SETTING = """[run]
parallel = true
patch = _exit
core = ctrace
data_file = {data}
include = {include}
context = ${{PYTEST_CURRENT_TEST-}}
disable_warnings = no-data-collected, module-not-imported, module-not-measured, already-imported, no-ctracer
"""


@dataclass(frozen=True)
class Map:
    """What a run of the unedited suite showed.

    ``lines``: source file -> line -> places in ``tests``; ``hashes`` of these files. ``seconds`` of a test are without
    those of the shared fixtures that it ``uses``; ``size``: how many lines it runs. ``failed``: left out.
    """

    tests: list[str]
    seconds: dict[str, float]
    size: dict[str, int]
    uses: dict[str, list[str]]
    fixtures: dict[str, float]
    lines: dict[str, dict[str, list[int]]]
    hashes: dict[str, str]
    failed: list[str]

    def running(self, edit: Edit) -> set[str]:
        """The tests that run the lines of an edit."""
        lines = self.lines.get(edit.path, {})
        numbers = range(edit.lines[0], edit.lines[1] + 1)
        return {self.tests[place] for number in numbers for place in lines.get(str(number), [])}

    def mentioning(self, path: str) -> set[str]:
        """The tests in files that are named after a module or import it."""
        return {test for file in _mentioning(path, tuple(self.files())) for test in self.files()[file]}

    def files(self) -> dict[str, list[str]]:
        """The tests of each test file."""
        by_file = defaultdict(list)
        for test in self.tests:
            by_file[test.partition("::")[0]].append(test)
        return by_file

    def cost(self, tests: Iterable[str]) -> float:
        """Seconds that these tests take, with their shared fixtures."""
        tests = list(tests)
        shared = {fixture for test in tests for fixture in self.uses[test]}
        return sum(self.seconds[test] for test in tests) + sum(self.fixtures.get(fixture, 0.0) for fixture in shared)


def read(file: Path) -> Map:
    return Map(**json.loads(file.read_text()))


def make(out: Path, test_files: Sequence[str] = (), workers: int = 0) -> Map:
    """Runs the suite under coverage, or a few of its files, and writes ``map.json`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with copied() as checkout:
        data = checkout.root.parent / "coverage"
        data.mkdir()
        rc = checkout.root.parent / "coveragerc"
        include = ",".join(f"{checkout.root / folder}/*" for folder in FOLDERS)
        rc.write_text(SETTING.format(data=data / "data", include=include))
        options = [*(["-n", str(workers)] if workers else []), *test_files]
        pytest_run = checkout.pytest(options, None, {"COVERAGE_PROCESS_START": str(rc)})
        print(pytest_run.output)
        new_map = _map(checkout, pytest_run, data, rc)
    (out / "map.json").write_text(json.dumps(asdict(new_map)))
    return new_map


def _map(checkout: Checkout, pytest_run: Ended, data: Path, rc: Path) -> Map:
    seconds, uses, fixtures = defaultdict(float), {}, {}
    outcomes: dict[str, set[str]] = defaultdict(set)
    for record in pytest_run.records:
        match record:
            case {"fixture": name, "seconds": spent}:
                fixtures[name] = max(spent, fixtures.get(name, 0.0))
            case {"test": test, "fixtures": names}:
                uses[test] = names
            case {"test": test, "seconds": spent, "outcome": outcome}:
                seconds[test] += spent
                outcomes[test].add(outcome)
    tests = sorted(test for test in uses if outcomes[test] == {"passed"})
    failed = sorted(test for test in uses if "failed" in outcomes[test])
    measured = _lines(checkout, data, rc, {test: uses[test] for test in tests})
    size = dict.fromkeys(tests, 0)
    for place in itertools.chain.from_iterable(numbers for lines in measured.values() for numbers in lines.values()):
        size[tests[place]] += 1
    covered = {path: measured.get(path, {}) for path in files()}
    hashes = {path: Source(checkout.root, path).sha256 for path in covered}
    return Map(tests, dict(seconds), size, uses, fixtures, covered, hashes, failed)


def _lines(checkout: Checkout, data: Path, rc: Path, uses: dict[str, list[str]]) -> dict[str, dict[str, list[int]]]:
    """The tests of each line; what a fixture runs is run by all tests that use it."""
    import coverage

    measured = coverage.Coverage(data_file=str(data / "data"), config_file=str(rc))
    measured.combine([str(data)], keep=True)
    places, users = {test: place for place, test in enumerate(uses)}, defaultdict(set)
    for test, names in uses.items():
        for name in names:
            users[name].add(test)

    def tests_of(context: str) -> set[str]:
        """A context is a test, a shared fixture, or for other processes what pytest was doing."""
        test, _, phase = re.fullmatch(r"(.*?)( \((setup|call|teardown)\))?\|?", context, re.DOTALL).groups("")
        if phase != "setup":
            return {test} | users.get(test, set())
        return {test}.union(*(users[name] for name in uses.get(test, [])))

    tests_by_context: dict[str, list[int]] = {}
    by_file = {}
    for file in measured.get_data().measured_files():
        lines = {}
        for number, contexts in measured.get_data().contexts_by_lineno(file).items():
            for context in contexts:
                if context not in tests_by_context:
                    tests_by_context[context] = [places[test] for test in tests_of(context) if test in places]
            lines[str(number)] = sorted({place for context in contexts for place in tests_by_context[context]})
        by_file[Path(file).relative_to(checkout.root).as_posix()] = lines
    return by_file


def _mentioning(path: str, test_files: Sequence[str]) -> list[str]:
    """The test files whose names contain a module's, or that import it."""
    stem = Path(path).stem
    if stem == "__init__":
        path = str(Path(path).parent)
    module = "archbench." + path.removeprefix("archbench/").removesuffix(".py").replace("/", ".")
    named = [file for file in test_files if stem in Path(file).stem.removeprefix("test_")]
    return named + [file for file in test_files if file not in named and module in _imported(ROOT / file)]


def _imported(file: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules
