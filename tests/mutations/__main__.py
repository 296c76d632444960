"""Measures the mutation score of the variant contract: ``PYTHONPATH=tests python -m mutations`` from the root."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mutations import score, trials
from mutations.operators import OPERATORS


def main() -> int:
    arguments = _arguments()
    began = time.monotonic()
    trials.prepared()
    originals = trials.originals(arguments.variants)
    outcomes = []
    for mutant in _drawn(arguments, originals):
        outcome = score.MutantOutcome(mutant, tuple(trials.tried(mutant.edit, originals)))
        outcomes.append(outcome)
        print(f"{_state(outcome):10}  {mutant.operator.name}: {mutant}", flush=True)
    lines = list(_report(outcomes))
    print("\n".join(["", *lines]))
    print(f"{len(outcomes)} mutants in {time.monotonic() - began:.0f} seconds", file=sys.stderr)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n")
    return int(score.score(outcomes) < arguments.at_least)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutations", description=__doc__)
    parser.add_argument("--most", type=int, default=6, help="mutants of each operator (0: all; default: 6)")
    parser.add_argument("--sample", type=int, default=0, help="one mutant each of so many operators")
    parser.add_argument("--seed", type=int, default=0, help="which mutants are drawn where there are more")
    parser.add_argument(
        "--operator", action="append", choices=[operator.name for operator in OPERATORS], help="these alone"
    )
    parser.add_argument("--variants", nargs="+", default=score.VARIANTS, help="variants and ablations to edit")
    parser.add_argument("--at-least", type=float, default=0.0, help="exit status 1 where the score is lower")
    parser.add_argument("--out", type=Path, help="a file in Markdown for the table and the lists")
    return parser.parse_args()


def _drawn(arguments: argparse.Namespace, originals: dict[str, trials.Original]) -> list[score.Mutant]:
    if arguments.sample:
        return score.sample(
            arguments.sample,
            arguments.seed,
            lambda edit: any(trials.runs(original, edit) for original in originals.values()),
        )
    operators = [operator for operator in OPERATORS if not arguments.operator or operator.name in arguments.operator]
    return score.mutants(arguments.most or None, arguments.seed, operators)


def _state(outcome: score.MutantOutcome) -> str:
    if not outcome.changed:
        return "equivalent"
    return "rejected" if outcome.refused else "SURVIVED"


def _report(outcomes: list[score.MutantOutcome]) -> Iterator[str]:
    yield from score.table(outcomes)
    pairs = [verdict for outcome in outcomes for verdict in outcome.changed]
    refused = [verdict for verdict in pairs if verdict.check is not None]
    yield f"\nOf {len(pairs)} edited variants that compute differently, {len(refused)} are rejected."
    yield "\nFirst check that refuses, edited variants:\n"
    for check, number in Counter(str(verdict.check) for verdict in refused).most_common():
        yield f"- {check}: {number}"
    yield "\nSurvivors:\n"
    for outcome in outcomes:
        if outcome.survivors:
            names = ", ".join(f"{verdict.variant} ({verdict.changed})" for verdict in outcome.survivors)
            yield f"- {outcome.mutant.operator.name}: {outcome.mutant}; survives in {names}"
    yield "\nEquivalent (no variant computes differently):\n"
    for outcome in outcomes:
        if not outcome.changed:
            yield f"- {outcome.mutant.operator.name}: {outcome.mutant}"


if __name__ == "__main__":
    sys.exit(main())
