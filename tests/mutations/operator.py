"""What an operator is, and rules that several of them share."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from source_edits import Edit

from mutations.patterns import Module, Rule, expression, is_empty

PARTS = r"^(attention|averaging|feedforward|embedding|norm|stack):"


@dataclass(frozen=True)
class Operator:
    """``name`` says what an edit does, ``breaks`` the property that then fails."""

    name: str
    breaks: str
    rules: tuple[Rule, ...]

    def edits(self, modules: Iterable[Module]) -> Iterator[Edit]:
        """Its edits of these modules, each once."""
        emitted = set()
        for module in modules:
            for rule in self.rules:
                for edit in rule(module):
                    key = (edit.path, edit.start, edit.end, edit.after)
                    if key not in emitted and not is_empty(edit):
                        emitted.add(key)
                        yield edit


def expression_rules(patterns: Iterable[tuple[str, str]], where: str = "") -> tuple[Rule, ...]:
    """Rules that replace expressions: pairs of pattern and replacement."""
    return tuple(expression(pattern, replacement, where) for pattern, replacement in patterns)


def applied(function: str, where: str = "") -> tuple[Rule, ...]:
    """``function`` is applied to what a component computes; ``{y}`` in it stands for that."""
    calls = ("self.down(_x)", "self.output(_x)", "self.dense(_x)", "self.head(_x)", "F.embedding(_x, self.weight)")
    results = tuple(call.replace("_x", "{_x}") for call in calls)
    return expression_rules(
        [(call, function.format(y=result)) for call, result in zip(calls, results, strict=True)], where
    )
