"""The contract catches planted faults: the check that should name each does, with one clear sentence, and first."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.plant import Fault
from faults.table import FAULTS

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.trials import QUICK

FOLDER = Path(__file__).parent
CHECKS = {check.__name__: check for check in contract.CHECKS}
SLOWEST = "a_batch_can_be_learned"
ALL = [(check, fault) for check, faults in FAULTS.items() for fault in faults if fault.says]
FIRST = [pytest.param(check, fault, id=fault.name) for check, fault in ALL if fault.alone or fault.plan is None]


def _cases() -> Iterator[Any]:
    """Every fault in each of its variants; by default in one, another one for each fault of a check."""
    for check, faults in FAULTS.items():
        for place, fault in enumerate(faults):
            for number, variant in enumerate(fault.variants):
                marks = () if number == place % len(fault.variants) else pytest.mark.longer
                yield pytest.param(check, fault, variant, id=f"{fault.name}-{variant}", marks=marks)


def problem(build: object, name: str, fault: Fault) -> str | None:
    check = CHECKS[name] if fault.plan is None else contract.planned(*fault.plan, native=True)
    (result,) = contract.results(build, checks=[check], trials=fault.trials)
    assert result.name == name and contract.explanation(check)
    return result.problem


@pytest.mark.parametrize(("check", "fault", "variant"), [*_cases()])
def test_a_fault_is_named_by_its_check(check: str, fault: Fault, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = problem(fault.plant(monkeypatch, catalogue.find(variant, FOLDER).build), check, fault)
    assert said is not None and re.search(fault.says, said), said


@pytest.mark.slow
@pytest.mark.parametrize(("check", "fault"), FIRST)
def test_a_fault_is_named_first_by_its_check(check: str, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by no other, where the table says so."""
    build = fault.plant(monkeypatch, catalogue.find(fault.variants[0]).build)
    names = [name for name in CHECKS if name != SLOWEST or name == check]
    others = names if fault.alone else names[: names.index(check)]
    results = contract.results(build, checks=[CHECKS[name] for name in others if name != check], trials=QUICK)
    assert {result.name for result in results if result.problem is not None} <= {*fault.also}
    assert problem(build, check, fault) is not None


def test_every_check_names_some_fault() -> None:
    assert {*FAULTS} == {*CHECKS, "planned_flops_are_counted"}


def test_planted_files_are_those_that_were_hashed() -> None:
    hashed = dict(line.split()[::-1] for line in (FOLDER / "planted" / "SHA256SUMS").read_text().splitlines())
    files = [*(FOLDER / "planted").glob("*.py")]
    assert hashed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    found = [fault.variants for faults in FAULTS.values() for fault in faults if not fault.says]
    assert sorted(found) == sorted((f"planted/{path.name}",) for path in files)
