"""The command line."""

import codecs
import contextlib
import errno
import io
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archbench.inputs import GO_ON, named_folder, out_folder, say
from archbench.tasks.base.errors import Signalled

if TYPE_CHECKING:
    from archbench.runs.execution.execute import Outcome

BROKEN = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the user's doing
MISPLACED = frozenset(  # what is wrong with a path that was named
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)
_USAGE: Any = typer.BadParameter.__bases__[0]  # Typer's UsageError, which it does not export
DRY = "Prepare the data and show runs, sizes, time and disk; train nothing."

app = typer.Typer(
    help="Decoder-only, encoder-only and encoder-decoder transformers compared under the same budget.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends the process with the exit status."""
    if arguments is None:
        _use_utf8()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _terminable():
            status = _status(words)
    except _Terminated:
        status = _fail(f"ended; {GO_ON}", 128 + signal.SIGTERM)
    except KeyboardInterrupt:
        status = _fail(f"interrupted; {GO_ON}", 128 + signal.SIGINT)
    sandbox = sys.modules.get("archbench.architectures.catalogue.sandbox")
    if sandbox is not None and any(thread.is_alive() for thread in sandbox.threads):
        sys.stdout.flush()
        os._exit(status)  # a variant's thread would hold up the end
    sys.exit(status)


Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or how its name or path begins.")]


def _use_utf8() -> None:
    """Makes any text printable, and starts again in Python's UTF-8 mode where names of files can be ASCII only.

    Workers inherit the mode by the environment.
    """
    ascii_only = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
    if ascii_only and not sys.flags.utf8_mode and sys.executable:
        command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONUTF8": "1"})
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


Names = Annotated[str | None, typer.Option(metavar="A,B", help="These instead of the experiment's, by commas.")]


def _print_version(wanted: bool) -> None:
    from archbench.version import version

    if wanted:
        typer.echo(f"archbench {version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print version and commit."),
    ] = False,
) -> None:
    pass


@app.command("compare")
def _compare(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="An experiment file (TOML).")] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="A preset instead of a file [quick].")] = None,
    architectures: Names = None,
    tasks: Annotated[str | None, typer.Option(metavar="X,Y", help="Only these tasks, by name or kind.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", min=1, max=10_000, help="Seeds 0 to N-1.")] = None,
    match: Annotated[
        str | None, typer.Option(metavar="AXIS", help="What is held equal: parameters, flops, ...")
    ] = None,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Runs at a time [a core each].")] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Where records go [results/<name>].")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=DRY)] = False,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="The same bits again, more slowly.")] = False,
) -> int:
    """Train and score architectures under the same budget; does only what is missing."""
    from archbench.reports.claims import ledger
    from archbench.runs.execution.compare import RunOptions, run
    from archbench.runs.execution.dry_run import preview
    from archbench.runs.experiment import spec
    from archbench.tasks.base.errors import InputError

    if experiment is not None and preset is not None:
        raise InputError("--preset: give either an experiment file or a preset")
    base = spec.load(experiment) if experiment is not None else spec.preset(preset if preset is not None else "quick")
    chosen = spec.override(
        base,
        architectures=_listed(architectures),
        tasks=_listed(tasks),
        seeds=seeds,
        match=_listed(match),
    )
    root, setting = out_folder(chosen, out), RunOptions(device=device, jobs=jobs, deterministic=deterministic)
    if dry_run:
        typer.echo(preview(chosen, root, setting, say))
        return 0
    outcome = run(chosen, root, setting, context.obj, say, ledger.digest())
    return _conclude(outcome, root)


@app.command("report")
def _report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a comparison.")],
    publish: Annotated[
        str | None, typer.Option(metavar="TO", help="A copy that can be handed on: without the data's texts.")
    ] = None,
) -> int:
    """Make tables, figures and page again, from the records alone."""
    from archbench.tasks.base.errors import InputError

    target = named_folder("--publish", publish)
    try:
        if target is not None:
            from archbench.reports.page import publish as publishing

            publishing.check(folder, target)
        _print_report(folder)
        if target is not None:
            page, *_ = publishing.publish(folder, target)
            typer.echo(f"without texts: {page}")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
    return 0


@app.command("list")
def _list(what: Annotated[str, typer.Argument(metavar="architectures|ablations|tasks|kinds|metrics|presets")]) -> int:
    """List architectures, ablations, tasks, kinds of task, metrics or presets, each with one line."""
    from archbench.runs.execution.dry_run import aligned
    from archbench.runs.experiment.validation import nearest, printable
    from archbench.tasks.base.errors import InputError

    kinds = {"architectures": _architectures, "ablations": _ablations, "tasks": _tasks}
    kinds |= {"kinds": _kinds, "metrics": _metrics, "presets": _presets}
    if what not in kinds:
        raise InputError(f"list: unknown {printable(what)}{nearest(what, kinds)}")
    typer.echo(aligned([[name, text] for name, text in kinds[what]().items()]))
    return 0


@app.command("new")
def _new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it; the file is NAME.py, in this folder.")],
    family: Annotated[
        str | None, typer.Option(metavar="FAMILY", help="decoder, encoder or encoder-decoder.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="KIND", help="A kind of task like this one.", show_default=False)
    ] = None,
    metric: Annotated[bool, typer.Option("--metric", help="A metric of texts.")] = False,
) -> int:
    """Start a variant, a kind of task or a metric: a commented file, ready to edit."""
    from archbench.architectures.catalogue import scaffold
    from archbench.tasks.base.errors import InputError

    if (family is not None) + (task is not None) + metric != 1:
        raise InputError("new: give exactly one of --family FAMILY, --task KIND and --metric")
    if family is None:
        return _new_of_tasks(scaffold.plain(name), task)
    file = scaffold.write(name, family, Path())
    typer.echo(f"{file}: the built-in {family}, with comments, ready to edit; then")
    typer.echo(f"  archbench check {file}")
    typer.echo(f"  archbench compare --preset smoke --architectures {family},{file}")
    return 0


def _new_of_tasks(stem: str, like: str | None) -> int:
    """Starts a kind of task like another, else a metric."""
    from archbench.architectures.catalogue import scaffold as files
    from archbench.tasks.kinds import scaffold

    if like is not None:
        file = files.place(stem, scaffold.kind_text(stem, like), Path())
        typer.echo(f"{file}: a kind of task like the built-in {like}, with comments, ready to edit; in an experiment")
        typer.echo(f'  [[tasks]]\n  kind = "{file}"\n  data = ...')
        return 0
    file = files.place(stem, scaffold.metric_text(stem), Path())
    typer.echo(f"{file}: a metric of texts, with comments, ready to edit; in an experiment")
    typer.echo(f'  [[tasks]]\n  metrics = ["{file}:{stem.replace("-", "_")}"]')
    return 0


@app.command("check")
def _check(
    architecture: Annotated[str, typer.Argument(metavar="NAME|FILE.py", help="An architecture, or a variant's file.")],
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Try more inputs, as compare does once for each new file.")
    ] = False,
) -> int:
    """Check that a variant keeps the contract, property by property."""
    from archbench.architectures.catalogue import catalogue
    from archbench.runs.execution import compare
    from archbench.runs.planning import compliance

    return compliance.show(catalogue.find(architecture), compare.cache(), thorough)


@app.command("bench")
def _bench(
    context: typer.Context,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")] = "auto",
    shape: Annotated[
        str | None, typer.Option(metavar="SHAPE", help="tiny, small or base [small; on a GPU base].")
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="X,Y", help="Only these measures or models, by commas.")] = None,
    pairs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Samples of each side [by shape].")] = None,
    data: Annotated[str, typer.Option(metavar="NAME", help="Built-in data of the real task.")] = "phrases-en-de",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where figure and numbers go.")] = Path("results/bench"),
) -> int:
    """Measure our speed, memory and start-up beside models of transformers."""
    from archbench.runs.bench import suite
    from archbench.runs.execution import compare

    request = suite.Request(device, shape, _only(only), pairs, data)
    ended = suite.run(request, out, compare.cache(), context.obj, say)
    _print_bench(out)
    if ended == "interrupted":
        return _fail(f"interrupted; what was measured before is in {out / suite.FILE}", 130)
    return int(ended == "failed")


@app.command("predict")
def _predict(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to continue, classify, translate or summarize.")],
    beams: Annotated[int | None, typer.Option(metavar="N", min=2, max=1000, help="Beam search with N beams.")] = None,
    temperature: Annotated[float | None, typer.Option(metavar="T", help="Sample at this temperature.")] = None,
    top_k: Annotated[int | None, typer.Option(metavar="N", min=1, help="Sample from the N likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(metavar="P", help="Sample from the likeliest tokens with probability P together.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, max=2**63 - 1, help="Seed of sampling [0].")] = None,
) -> int:
    """Let a trained run continue, classify, translate or summarize a text, as it was scored or as you say."""
    from archbench.runs.base import store
    from archbench.runs.base.messages import visible

    folder = store.find_run(run)
    from archbench.runs.scoring.predict import Choice, predict  # torch, after what can go wrong without it

    answer = predict(folder, text, Choice(beams, temperature, top_k, top_p, seed))
    if answer.cut:
        say(f"the last {answer.cut} tokens of the text are beyond the model's source length and were not read")
    typer.echo(visible(answer.text))
    for label, probability in answer.probabilities:
        typer.echo(visible(f"  {probability:.3f}  {label}"))
    return 0


@app.command("inspect")
def _inspect(
    run: Run,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Shown in full [the first test example with a wrong guess].")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What is right to answer to --text [what the model writes].")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the page goes [inspect/<run> beside the runs].")
    ] = None,
) -> int:
    """Make a page that looks inside a trained run: tokens, embeddings, heads, layers, learning."""
    from archbench.runs.base import store

    named, folder = named_folder("--out", out), store.find_run(run)
    from archbench.runs.inside import inspection  # torch, after what can go wrong without it

    beside = folder.parent.parent / "inspect" / folder.name if folder.parent.name == "runs" else None
    target = named or beside or Path(f"{folder.name}-inspect")
    inspection.inspect(folder, text, target, say, answer)
    from archbench.reports.inspection import inspection as page

    written, *_ = page.write(page.read(target), target)
    typer.echo(str(written))
    return 0


@app.command("export")
def _export(
    run: Run,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
) -> int:
    """Save a trained run so that transformers loads it."""
    from archbench.runs.base import store

    folder = store.find_run(run)
    from archbench.runs.export.export import export  # torch, after what can go wrong without it

    exported = export(folder, target)
    typer.echo(f"{target}: {exported.model} ({', '.join(exported.files)})")
    typer.echo(f"README.md is its card; to load it and let it answer, run in that folder:\n\n{exported.usage}")
    return 0


def _status(arguments: list[str]) -> int:
    """Runs a command; every mistake of the user becomes one line on stderr and a status."""
    from archbench.runs.base.store import FULL
    from archbench.tasks.base.errors import InputError

    command = typer.main.get_command(app)
    if any("\udc80" <= sign <= "\udcff" for word in arguments for sign in word):
        return _fail("the command has bytes that are not UTF-8; rename the file or folder", 2)
    try:
        command_text = shlex.join(["archbench", *arguments])
        status = int(command.main(arguments or ["--help"], "archbench", standalone_mode=False, obj=command_text) or 0)
        if (
            status == 130 and _interrupts and arguments[:1] != ["bench"]
        ):  # Typer made a status of it; bench has said so itself
            return _fail(f"interrupted; {GO_ON}", status)
        return status
    except InputError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(f"interrupted; {GO_ON}", 130)
    except OSError as error:
        if error.errno in FULL:
            return _fail(f"{error.filename or 'the disk'}: {error.strerror}; make room, then {GO_ON}", 1)
        if error.errno in MISPLACED and error.filename is not None:
            return _fail(f"{error.filename}: {error.strerror}; see what stands there, or name another place", 2)
        if not _has_place():
            return _fail("the current folder is no longer there; go to one that is", 2)
        if error.errno in BROKEN:
            return _fail(f"{error.filename or 'the system'}: {error.strerror}; once that is mended, {GO_ON}", 1)
        raise
    except _USAGE as error:
        where = error.ctx.command_path if getattr(error, "ctx", None) else "archbench"
        return _fail(f"{error.format_message()} ({where} --help says more)", 2)


def _has_place() -> bool:
    """Whether the current folder still exists."""
    with contextlib.suppress(OSError):
        os.getcwd()
        return True
    return False


def _fail(message: str, status: int) -> int:
    _complain(message)
    return status


def _complain(message: str) -> None:
    from archbench.runs.base.messages import bounded, visible

    say(bounded(visible("archbench: " + " ".join(message.split()))))


class _Terminated(Signalled):
    """SIGTERM came: nothing that a variant or a library does to handle errors and exits holds it up."""


class _Interrupted(Signalled, KeyboardInterrupt):
    """SIGINT came; a variant may raise ``KeyboardInterrupt``, which is a mistake of its own."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


_interrupts: list[int] = []  # SIGINTs that came while no runs were directed


def _interrupt(number: int, frame: object) -> None:
    _interrupts.append(number)
    raise _Interrupted


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends with status 143 and whatever must be tidied is; SIGINT is heard in the background of a shell too."""
    term = signal.signal(signal.SIGTERM, _terminate)
    interrupt = signal.signal(signal.SIGINT, _interrupt)
    _interrupts.clear()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, term)
        signal.signal(signal.SIGINT, interrupt)


def _listed(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def _only(words: str | None) -> tuple[str, ...] | None:
    listed = _listed(words)
    return None if listed is None else tuple(listed)


def _conclude(outcome: "Outcome", root: Path) -> int:
    """Reports what is there, says what is not, and gives the exit status."""
    if outcome.done or outcome.skipped or outcome.failed:
        _print_report(root, anew=False)
    for run in outcome.failed:
        _complain(f"{run} failed: {outcome.causes[run]}; see {root / 'runs' / run / 'error.txt'}")
    for line in outcome.errors:
        _complain(line)
    if outcome.full:
        _complain(f"{root}: {outcome.full}; make room, then {GO_ON}")
    elif outcome.unfinished:
        count = len(outcome.unfinished) + len(outcome.done) + len(outcome.skipped) + len(outcome.failed)
        _complain(f"interrupted; {len(outcome.unfinished)} of {count} runs are unfinished; {GO_ON}")
    return outcome.status


def _print_report(root: Path, anew: bool = True) -> None:
    """Builds the report; the headline and where the page is go to the terminal."""
    from archbench.reports.page import assemble, summary
    from archbench.runs.base.messages import visible
    from archbench.runs.execution.dry_run import aligned

    (page, *_), judged = assemble.report(root, anew, say)
    lines = ["", aligned(summary.text(judged)), "", *summary.sentences(judged), "", f"page: {page}"]
    typer.echo(visible("\n".join(lines)))


def _print_bench(root: Path) -> None:
    """Draws the figure; the table and what it leaves out go to the terminal."""
    from archbench.reports import bench

    record = bench.read(root)
    for rows in (bench.table(record), bench.shares(record)):
        if len(rows) > 1:
            _print_table(rows)
    written = [root / bench.FILE, *bench.write(record, root)]
    typer.echo("\n".join([*bench.remarks(record), f"written: {', '.join(map(str, written))}"]))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text, the head first: a table on a terminal, aligned lines elsewhere."""
    from rich.console import Console
    from rich.table import Table

    from archbench.runs.execution.dry_run import aligned

    console = Console()
    if not console.is_terminal:
        typer.echo(aligned(rows) + "\n")
        return
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def _architectures() -> dict[str, str]:
    from archbench.architectures.catalogue import catalogue
    from archbench.architectures.families.variant import STOCK

    described = STOCK | {name: f"of another package: {value}" for name, value in catalogue.offered().items()}
    return {name: described.get(name) or catalogue.find(name).document for name in catalogue.names()}


def _ablations() -> dict[str, str]:
    from archbench.architectures.catalogue import catalogue

    return {name: catalogue.find(name).document for name in catalogue.ablated()}


def _tasks() -> dict[str, str]:
    from archbench.tasks.builtin_data import builtin

    return {entry.name: entry.description for entry in builtin.listing()}


def _kinds() -> dict[str, str]:
    from archbench.tasks.kinds import registry

    described = {name: kind.does for name, kind in registry.BUILTIN.items()}
    return described | {name: f"of another package: {value}" for name, value in sorted(registry.offered().items())}


def _metrics() -> dict[str, str]:
    from archbench.tasks.metrics import builtin, registry

    described = {name: metric.meaning for name, metric in builtin.TEXTS.items()}
    return described | {name: f"of another package: {value}" for name, value in sorted(registry.offered().items())}


def _presets() -> dict[str, str]:
    from archbench.runs.experiment import spec

    return spec.presets()
