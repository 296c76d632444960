"""The generator of faulty edits makes what it says, and the contract refuses what it makes."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import score
from mutations.operator import Operator
from mutations.operators import OPERATORS
from mutations.patterns import Module, at_start, expression, keyword, method, returned
from mutations.trials import VariantVerdict

ROOT = Path(__file__).resolve().parents[1]
SOURCE = '''"""Two functions."""

class Part(Base):
    def forward(self, x, y=None):
        """Text — not an expression."""
        return call(x + y, size=x + 1)  # more

def other(z):
    return z + z
'''


def edited(rule) -> list[str]:
    module = Module("folder/part.py", SOURCE)
    return [edit.applied(SOURCE) for edit in rule(module)]


def changed(before: str, after: str) -> list[str]:
    assert before in SOURCE
    return [SOURCE.replace(before, after)]


def test_an_expression_is_replaced_where_its_pattern_matches() -> None:
    assert edited(expression("_a + y", "{_a} - y")) == changed("call(x + y", "call((x - y)")
    assert edited(expression("_a + _a", "2 * {_a}")) == changed("z + z", "(2 * z)")
    assert edited(expression("_a + _b", "{_b}", where=r"part:other$")) == changed("z + z", "z")


def test_an_argument_is_replaced() -> None:
    assert edited(keyword("call", "size", "f({value})")) == changed("size=x + 1", "size=f((x + 1))")


def test_what_is_returned_is_replaced() -> None:
    assert edited(returned("-{value}", where=r"other$")) == changed("return z + z", "return -(z + z)")


def test_statements_and_methods_are_inserted() -> None:
    assert edited(at_start("y = 1", where=r"Part\.forward", argument="y")) == changed(
        "        return call", "        y = 1\n        return call"
    )
    assert edited(at_start("y = 1", where="", argument="absent")) == []
    assert edited(method("def more(self):\n    pass", where=r"part:Part")) == changed(
        "    def forward", "    def more(self):\n        pass\n    \n    def forward"
    )


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_every_operator_makes_other_code_that_compiles(operator: Operator) -> None:
    modules = {module.path: module.text for module in score.modules()}
    edits = [mutant.edit for mutant in score.mutants(operators=[operator])]
    assert edits
    for edit in edits:
        text = edit.applied(modules[edit.path])
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(modules[edit.path])), edit


def test_a_mutant_is_refused_only_where_every_variant_that_it_changes_is() -> None:
    mutant = score.mutants(most=1)[0]
    same, refused, survives = (
        VariantVerdict("a", None),
        VariantVerdict("b", "logits", "no_look_ahead"),
        VariantVerdict("c", "logits"),
    )
    assert score.MutantOutcome(mutant, (same, refused)).refused
    assert not score.MutantOutcome(mutant, (refused, survives)).refused
    outcomes = [score.MutantOutcome(mutant, verdicts) for verdicts in ((same,), (refused,), (refused, survives))]
    assert score.score(outcomes) == 0.5
    assert "| 3 | 1 | 1 | 0 | 0 | 1 | 50% |" in list(score.table(outcomes))[-1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process that has not imported the code that it edits."""
    environment = os.environ | {"PYTHONPATH": "tests", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutations", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_few_mutants_of_the_decoder_are_refused() -> None:
    done = run("--sample", "5", "--seed", "6", "--variants", "decoder", "--at-least", "1")
    assert done.returncode == 0, done.stdout
    assert "refused  " in done.stdout and "SURVIVED" not in done.stdout


@pytest.mark.slow
def test_a_score_that_is_too_low_changes_the_status() -> None:
    done = run("--sample", "1", "--seed", "5", "--variants", "decoder", "--at-least", "1.1")
    assert done.returncode == 1 and "| **all** |" in done.stdout, done.stderr


def test_a_variant_that_the_contract_refuses_unedited_has_no_score() -> None:
    """Every edit of it would count as refused."""
    done = run("--sample", "1", "--variants", "decoder-no-mask")
    assert done.returncode == 1 and "decoder-no-mask breaks the contract unedited (no_look_ahead" in done.stderr


@pytest.mark.slow
def test_a_sample_of_mutants_is_refused() -> None:
    done = run("--sample", "25", "--seed", "0", "--at-least", "0.75")
    assert done.returncode == 0, done.stdout
