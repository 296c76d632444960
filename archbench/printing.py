"""Output of commands at their end: outcomes, reports and tables."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from archbench.exits import complain
from archbench.inputs import GO_ON, say

if TYPE_CHECKING:
    from archbench.published_tables import Reproduction
    from archbench.runs.execution.execute import Outcome


def conclude(outcome: "Outcome", root: Path) -> int:
    """Reports the finished runs, except when interrupted; names the others, and returns the exit status."""
    ended = outcome.done or outcome.skipped or outcome.failed
    if ended and outcome.signal is None:
        print_report(root, anew=False)
    complain_of(outcome, root)
    if ended and outcome.signal is not None:
        say(f"archbench report {shlex.quote(str(root))} shows the runs that are finished")
    return outcome.status


def complain_of(outcome: "Outcome", root: Path) -> None:
    """Says which runs failed or are unfinished, and why."""
    for run in outcome.failed:
        complain(f"{run} failed: {outcome.causes[run]}; see {root / 'runs' / run / 'error.txt'}")
    for line in outcome.errors:
        complain(line)
    if outcome.full:
        complain(f"{root}: {outcome.full}; free disk space, then {GO_ON}")
    elif outcome.unfinished:
        count = len(outcome.unfinished) + len(outcome.done) + len(outcome.skipped) + len(outcome.failed)
        waiting = f", and {outcome.waiting} more wait for them" if outcome.waiting else ""
        complain(f"interrupted; {len(outcome.unfinished)} of {count} runs are unfinished{waiting}; {GO_ON}")
    elif outcome.failed and outcome.waiting:
        complain(f"{outcome.waiting} more runs wait for failed ones; {GO_ON}")


def print_report(root: Path, anew: bool = True) -> None:
    """Builds the report; prints its headline and the path of the page."""
    from archbench.reports.page import assemble, summary
    from archbench.runs.execution.progress import aligned
    from archbench.runs.plans.messages import visible

    (page, *_), judged = assemble.report(root, anew, say)
    lines = list[str]()
    for name, table in summary.tables(judged).items():
        lines += ["", *filter(None, [table.above]), aligned(table.rows)]
        if len(table.rows) - 1 < table.total:
            lines.append(f"... archbench table {root} {name} prints all {table.total} rows")
    lines += ["", *summary.sentences(judged), "", f"page: {page}"]
    typer.echo(visible("\n".join(lines)))


def print_reproduction(result: "Reproduction") -> None:
    """Prints the verdicts and what they say together."""
    from archbench.reports.published import reproduction
    from archbench.runs.plans.messages import visible

    assert result.rows is not None
    print_table([[visible(cell) for cell in row] for row in reproduction.table(result.rows)])
    typer.echo("\n".join(reproduction.sentences(result.rows)))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text, header first: a table on a terminal, aligned lines elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from archbench.runs.execution.progress import aligned

    console = Console()
    if not console.is_terminal:
        typer.echo(aligned(rows) + "\n")
        return
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    console.print(table)
