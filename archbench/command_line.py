"""The command line."""

import codecs
import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from archbench import exits
from archbench.exits import Terminated, complain, fail, terminable
from archbench.inputs import GO_ON, named_file, named_folder, number_of_runs, out_folder, say, sequential
from archbench.listings import LISTS
from archbench.printing import complain_of, conclude, print_report, print_reproduction, print_table
from archbench.tasks.base import fixed_environment

MATCH = (
    "What is held equal. parameters: parameters and training tokens; active-parameters: those that a token uses and "
    "training tokens; flops: FLOPs and training tokens (sizes differ); "
    "flops-by-tokens: FLOPs and parameters (training tokens differ); loss-tokens: parameters and tokens with a loss; "
    "seconds: training time and parameters (needs a budget in seconds)."
)
SET = "Replace a key of the experiment, such as training.learning_rate=0.005 or tasks.NAME.vocabulary=1024; repeatable."
PRESET = "Run a preset instead of a file [default: quick]; 'archbench list presets' shows all."
ONLY = (
    "Run only these models (gpt2, llama, bert, t5) and measurements (training, compiled, labels, real, scoring, "
    "generation, alone, shares); docs/performance.md explains them."
)
TASKS = "Run only these tasks: names, or kinds such as translation."
UNTIL = (
    "After the experiment's seeds, add one seed at a time until every pair that the experiment declares is decided "
    "(needs --max-seeds). Only architectures of undecided pairs get new seeds; the familywise error rate of all tests "
    "stays at most 5%."
)
AGAINST = (
    "Train one architecture, given in place of the experiment, with the data, budget and trials of a published "
    "comparison (public-v1, or a folder with tables), and compare it with the published results."
)
ON = (
    "Where runs are trained: local (processes on this machine), ray (a Ray cluster) or slurm (Slurm jobs). "
    "See docs/clusters.md."
)
DETACH = "Run in the background, with output in DIR/compare.log; 'archbench status DIR' shows progress."
TRACK = "Also log curves and scores to tensorboard or wandb; 'archbench track' does this later."
DRY = "Prepare the data and print planned runs, sizes, time and disk space, without training."

app = typer.Typer(
    help="Compare decoder-only, encoder-only and encoder-decoder transformers under the same budget.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its status."""
    if arguments is None:
        _use_utf8()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with terminable(), fixed_environment.guarded() if arguments is None else contextlib.nullcontext():
            status = _status(words)
    except fixed_environment.Elsewhere as elsewhere:
        status = _elsewhere(words, elsewhere.variables, replacing=arguments is None)
    except Terminated:
        status = fail(f"terminated; {GO_ON}", 128 + signal.SIGTERM)
    except KeyboardInterrupt:
        status = fail(f"interrupted; {GO_ON}", 128 + signal.SIGINT)
    sandbox = sys.modules.get("archbench.architectures.catalogue.sandbox")
    if sandbox is not None and any(thread.is_alive() for thread in sandbox.threads):
        sys.stdout.flush()
        os._exit(status)  # a variant's thread would delay the exit
    sys.exit(status)


def _elsewhere(words: Sequence[str], variables: Mapping[str, str], replacing: bool) -> int:
    """Runs the same command in a process for users' files and returns its exit status, or replaces this process."""
    command = [sys.executable, "-P", "-m", "archbench", *words]
    search = os.pathsep.join(os.path.abspath(part) for part in sys.path)
    environment = {**fixed_environment.environment(variables), "PYTHONPATH": search}
    sys.stdout.flush()
    sys.stderr.flush()
    if replacing:
        os.execve(sys.executable, command, environment)
    return subprocess.run(command, env=environment).returncode


Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or the beginning of its name or path.")]


def _use_utf8() -> None:
    """Makes any text printable; restarts in Python's UTF-8 mode if file names are limited to ASCII.

    Workers inherit the mode from the environment.
    """
    ascii_only = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
    if ascii_only and not sys.flags.utf8_mode and sys.executable:
        command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONUTF8": "1"})
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


Names = Annotated[
    str | None, typer.Option(metavar="A,B", help="Replace the experiment's architectures; separate with commas.")
]


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
    preset: Annotated[str | None, typer.Option(metavar="NAME", help=PRESET)] = None,
    architectures: Names = None,
    tasks: Annotated[str | None, typer.Option(metavar="X,Y", help=TASKS)] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", min=1, max=10_000, help="Use seeds 0 to N-1.")] = None,
    until_decided: Annotated[bool, typer.Option("--until-decided", help=UNTIL)] = False,
    max_seeds: Annotated[
        int | None, typer.Option(metavar="N", min=2, max=10_000, help="Largest number of seeds, with --until-decided.")
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(metavar="AXIS", help=MATCH),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET)] = None,
    against: Annotated[str | None, typer.Option(metavar="NAME", help=AGAINST)] = None,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Parallel runs [default: one per core; on GPUs, as many as fit]."),
    ] = None,
    on: Annotated[str, typer.Option(metavar="WHERE", help=ON)] = "local",
    detach: Annotated[bool, typer.Option("--detach", help=DETACH)] = False,
    track: Annotated[str | None, typer.Option(metavar="NAME", help=TRACK)] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for the results [default: results/<name>].")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=DRY)] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="Use deterministic CUDA kernels (slower); runs on a CPU are reproducible anyway."
        ),
    ] = False,
) -> int:
    """Train and score architectures under the same budget.

    Trains only the runs that are not finished, then writes the report.
    """
    from archbench import background
    from archbench.reports.claims import ledger
    from archbench.runs.execution.compare import RunOptions, run
    from archbench.runs.execution.dry_run import preview
    from archbench.runs.executors import executor
    from archbench.runs.experiment import spec
    from archbench.runs.experiment.settings import parsed
    from archbench.sharing import trackers
    from archbench.tasks.base.errors import InputError

    if experiment is not None and preset is not None:
        raise InputError("--preset: give an experiment file or a preset, not both")
    replaced, published = parsed(settings), None
    if against is not None:
        fixed: dict[str, object] = {
            "--preset": preset,
            "--architectures": architectures,
            "--seeds": seeds,
            "--match": match,
        }
        fixed |= {"--set": settings, "--until-decided": until_decided or None, "--max-seeds": max_seeds}
        from archbench import published_tables

        base, published = published_tables.join(experiment, against, fixed)
    elif experiment is not None:
        base = spec.load(experiment, replaced)
    else:
        base = spec.preset("quick" if preset is None else preset, replaced)
    chosen = spec.override(
        base,
        architectures=_listed(architectures),
        tasks=_listed(tasks),
        seeds=seeds,
        match=_listed(match),
    )
    root, rule = out_folder(chosen, out), sequential(until_decided, max_seeds)
    options = RunOptions(device=device, jobs=jobs, deterministic=deterministic, on=executor.named(on))
    if dry_run:
        typer.echo(preview(chosen, root, options, say, rule))
        return 0
    if detach:
        executor.check(options.on)
        return background.start(root, say)
    if published is not None:
        published.keep(root, [task.name for task in chosen.tasks])
    follower = None if track is None else trackers.Follower(root, trackers.named(track), say)
    with follower or contextlib.nullcontext():
        listeners = [] if follower is None else [follower]
        outcome = run(chosen, root, options, context.obj, say, ledger.declaration(), rule, listeners)
    status = conclude(outcome, root)
    if follower is not None:
        try:
            typer.echo(trackers.replay(root, follower.name, follower.sent))
        except InputError as error:  # the comparison itself is done
            complain(str(error))
    return status


@app.command("report")
def _report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a comparison.")],
    publish: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Also write a copy to FOLDER that can be shared: without the texts of the data sets."
        ),
    ] = None,
) -> int:
    """Rebuild tables, figures and page from the records."""
    from archbench.tasks.base.errors import InputError

    target = named_folder("--publish", publish)
    try:
        if target is not None:
            from archbench.reports.page import publish as publishing

            publishing.check(folder, target)
        print_report(folder)
        if target is not None:
            page, *_ = publishing.publish(folder, target)
            typer.echo(f"page without texts: {page}")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
    return 0


Folder = Annotated[str, typer.Argument(metavar="DIR", help="The folder of a comparison.")]


@app.command("plot")
def _plot(
    folder: Folder,
    figure: Annotated[str | None, typer.Argument(metavar="FIGURE", help="A name that --list shows.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the figures and what each answers.")] = False,
    form: Annotated[
        str | None, typer.Option("--format", metavar="F", help="pdf, svg or png [default: that of --out, else pdf].")
    ] = None,
    width: Annotated[
        str | None, typer.Option(metavar="W", help="Width of the figure, such as 3.3in, 84mm or 240pt.")
    ] = None,
    architectures: Annotated[str | None, typer.Option(metavar="A,B", help="Show only these architectures.")] = None,
    datasets: Annotated[str | None, typer.Option(metavar="X,Y", help="Show only these data sets.")] = None,
    style: Annotated[
        str | None, typer.Option(metavar="S", help="light, dark or print [default: print for pdf, else light].")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=B", help="Show an architecture or data set under another name: decoder=GPT; repeatable."
        ),
    ] = None,
    font: Annotated[
        str | None, typer.Option(metavar="F", help="A font family, a size in points, or both: “Times New Roman,8”.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="none", help="none: leave out the titles of panels.")] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="The file [default: FIGURE.FORMAT].")] = None,
) -> int:
    """Draw one figure of a comparison as PDF, SVG or PNG.

    Selecting architectures or data sets changes what is drawn, not the tests and intervals.
    """
    from archbench import plotting
    from archbench.reports.figures import plot
    from archbench.reports.figures.canvas.drawing import ENDINGS, PAPER
    from archbench.reports.figures.canvas.styles import STYLES
    from archbench.reports.figures.figures import FIGURES
    from archbench.runs.execution.progress import aligned

    judged = plotting.judged(folder)
    shown = plotting.view(judged, _listed(architectures), _listed(datasets))
    if listing or figure is None:
        typer.echo(aligned(plot.listing(shown)))
        return 0
    name, kind = plotting.chosen("FIGURE", figure, FIGURES), plotting.form(form, out, ENDINGS, "pdf")
    look = plotting.chosen("--style", style, STYLES) if style else "print" if kind == "pdf" else "light"
    path = named_file("--out", out) or Path(f"{name}.{kind}")
    inches = None if width is None else plotting.inches("--width", width)
    changes = plotting.changes(judged, labels, font, title, None)
    with plotting.mistakes():
        made, height = plot.written(shown, name, path, kind, look, inches, changes, PAPER)
    tall = f"{height:.1f} inches tall, more than a page: fewer --datasets or a larger --width make it shorter"
    typer.echo(
        "\n".join(
            filter(
                None,
                (made.takeaway, f"Caption: {made.caption}", f"written: {path}", tall if height > plot.PAGE else ""),
            )
        )
    )
    return 0


@app.command("table")
def _table(
    folder: Folder,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A name that --list shows.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the tables and what each holds.")] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="latex, markdown or csv [default: that of --out, else markdown]."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write to a file instead of the terminal.")] = None,
) -> int:
    """Print one table of a comparison as LaTeX (booktabs), Markdown or CSV.

    Bold: the best score, wins, or decided outcomes; the note of each table says which.
    """
    from archbench import plotting
    from archbench.reports.page import printed
    from archbench.runs.execution.progress import aligned
    from archbench.tasks.base.files import write_text

    if listing or name is None:
        with plotting.mistakes():
            typer.echo(aligned(printed.listing(plotting.judged(folder))))
        return 0
    known = plotting.chosen("NAME", name, printed.TABLES)
    layout = plotting.form(form, out, printed.ENDINGS, "markdown")
    path = named_file("--out", out)
    with plotting.mistakes():
        text = printed.printed(
            printed.table(plotting.judged(folder), known), layout, printed.note(printed.TABLES[known], layout)
        )
    if path is None:
        typer.echo(text, nl=False)
    else:
        write_text(path, text)
        typer.echo(f"written: {path}")
    return 0


TESTED = (
    "exact_match, accuracy, bleu, chrf, wer, per, edit_distance or bits_per_byte [default: exact_match; if none is "
    "right, bits_per_byte]."
)


@app.command("test")
def _test(
    first: Annotated[str, typer.Argument(metavar="A", help="A run, or a CSV file with a row for each example.")],
    second: Annotated[str, typer.Argument(metavar="B", help="A run or a CSV file with the same examples.")],
    metric: Annotated[
        str | None,
        typer.Option(metavar="M", help=TESTED),
    ] = None,
) -> int:
    """Test whether two models differ on the same examples.

    A CSV file has the columns example, reference and answer or, for bits_per_byte, example, log_likelihood (nats) and
    bytes. Prints the difference, its 95% interval and p, by the report's paired test.
    """
    from archbench import model_pair

    for line in model_pair.lines(first, second, metric):
        typer.echo(line)
    return 0


@app.command("merge")
def _merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR ...", help="Folders of comparisons, or of their tables.")
    ],
    out: Annotated[str, typer.Option(metavar="DIR", help="A new folder for the merged tables and their report.")],
) -> int:
    """Merge the tables of several comparisons into one report.

    The first folder's experiment and rules apply. Results with the same data and budget are merged; all others are kept
    apart under new names. Duplicate seeds are dropped.
    """
    from archbench import published_tables

    target = named_folder("--out", out) or Path()
    result = published_tables.merge(folders, target)
    for line in (*result.lines, f"page: {result.page}"):
        say(line)
    return int(bool(result.refused))


@app.command("push")
def _push(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a comparison.")],
    target: Annotated[
        str, typer.Argument(metavar="hub:OWNER/NAME", help="A data set repository on the Hugging Face Hub.")
    ],
    models: Annotated[
        bool, typer.Option("--models", help="Also upload one model per architecture and data set to OWNER/NAME-models.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be uploaded.")] = False,
) -> int:
    """Upload a report to the Hugging Face Hub: tables, page and card.

    Data set text is not uploaded. Log in first with 'hf auth login', or set HF_TOKEN.
    """
    from archbench.sharing import on_hub

    root = named_folder("push", folder) or Path()
    typer.echo("\n".join(on_hub.push(root, target, models, dry_run, say)))
    return 0


@app.command("track")
def _track(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a comparison, finished or not.")],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="tensorboard or wandb.")],
) -> int:
    """Show curves, scores and figures of a comparison in a tracker.

    Sends only what the tracker does not have yet. TensorBoard reads DIR/tensorboard; Weights & Biases uses its own
    environment variables, such as WANDB_MODE=offline.
    """
    from archbench.sharing import trackers

    root = named_folder("track", folder) or Path()
    typer.echo(trackers.replay(root, to))
    return 0


@app.command("reproduce")
def _reproduce(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder with the tables of a comparison.")],
    runs: Annotated[str, typer.Option(metavar="N", help="How many runs to train, or all.")] = "3",
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Parallel runs [default: one per core; on GPUs, as many as fit]."),
    ] = None,
    on: Annotated[str, typer.Option(metavar="WHERE", help=ON)] = "local",
    out: Annotated[
        str | None, typer.Option(metavar="OUT", help="Folder for the new runs [default: results/reproduce-<name>].")
    ] = None,
) -> int:
    """Train published runs again and compare their scores.

    Uses the learning rates and variants that the tables record, so no trial is trained. Says for each score whether
    it is the same as the published one or within the 95% interval for one further seed.
    """
    from archbench import published_tables
    from archbench.runs.execution.compare import RunOptions
    from archbench.runs.executors import executor

    number, root = number_of_runs(runs), named_folder("--out", out)
    options = RunOptions(device=device, jobs=jobs, on=executor.named(on))
    tables = named_folder("reproduce", folder) or Path()
    result = published_tables.reproduce(tables, root, number, options, context.obj, say)
    if result.rows is not None:
        print_reproduction(result)
    complain_of(result.outcome, result.root)
    return result.status


@app.command("status")
def _show_status(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a comparison, finished or not.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with details of every run.")] = False,
) -> int:
    """Show progress, failed runs and time left of a comparison.

    Only reads files; does not disturb a comparison that is running.
    """
    import json

    from archbench.runs.execution import status
    from archbench.runs.plans.messages import visible

    comparison = status.read(named_folder("status", folder) or Path())
    if as_json:
        typer.echo(json.dumps(comparison.to_json(), indent=1))
    else:
        typer.echo(visible(status.text(comparison)))
    return 0


@app.command("list")
def _list(what: Annotated[str, typer.Argument(metavar="architectures|ablations|tasks|kinds|metrics|presets")]) -> int:
    """List architectures, tasks, presets and other names."""
    from archbench.runs.execution.progress import aligned
    from archbench.runs.experiment.validation import nearest, printable
    from archbench.tasks.base.errors import InputError

    if what not in LISTS:
        raise InputError(f"list: unknown {printable(what)}{nearest(what, LISTS)}")
    typer.echo(aligned([[name, text] for name, text in LISTS[what]().items()]))
    return 0


@app.command("new")
def _new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the template, which is written to NAME.py.")],
    family: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY",
            help="Write a variant, starting from the built-in decoder, encoder or encoder-decoder.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="KIND",
            help="Write a task kind, starting from this built-in one.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[bool, typer.Option("--metric", help="Write a metric that is computed from texts.")] = False,
) -> int:
    """Write a template of a variant, task kind or metric.

    The template has comments and works as it is. Give exactly one of the options.
    """
    from archbench.architectures.catalogue import scaffold
    from archbench.tasks.base.errors import InputError

    if (family is not None) + (task is not None) + metric != 1:
        raise InputError("new: give exactly one of --family FAMILY, --task KIND and --metric")
    if family is None:
        return _new_of_tasks(scaffold.plain(name), task)
    file = scaffold.write(name, family, Path())
    typer.echo(f"{file}: the built-in {family} with comments; edit it, then run")
    typer.echo(f"  archbench check {file}")
    typer.echo(f"  archbench compare --preset smoke --architectures {family},{file}")
    return 0


def _new_of_tasks(stem: str, like: str | None) -> int:
    """Writes a task kind modelled on a built-in one or, without ``like``, a metric."""
    from archbench.architectures.catalogue import scaffold as files
    from archbench.tasks.kinds import scaffold

    if like is not None:
        file = files.place(stem, scaffold.kind_text(stem, like), Path())
        typer.echo(f"{file}: a task kind modelled on {like}, with comments; edit it, then use it in an experiment:")
        typer.echo(f'  [[tasks]]\n  kind = "{file}"\n  data = ...')
        return 0
    file = files.place(stem, scaffold.metric_text(stem), Path())
    typer.echo(f"{file}: a metric with comments; edit it, then use it in an experiment:")
    typer.echo(f'  [[tasks]]\n  metrics = ["{file}:{stem.replace("-", "_")}"]')
    return 0


@app.command("check")
def _check(
    architecture: Annotated[str, typer.Argument(metavar="NAME|FILE.py", help="An architecture or a variant's file.")],
) -> int:
    """Check that a variant can be compared fairly."""
    from archbench.architectures.catalogue import catalogue
    from archbench.runs.budgets import compliance
    from archbench.runs.execution import compare

    return compliance.show(catalogue.find(architecture), compare.cache(), say)


@app.command("bench")
def _bench(
    context: typer.Context,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")] = "auto",
    shape: Annotated[
        str | None,
        typer.Option(metavar="SHAPE", help="Model size: tiny, small or base [default: small; base on a GPU]."),
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="X,Y", help=ONLY)] = None,
    pairs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of paired timings [default: depends on the shape].")
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="NAME", help="Built-in data set for the measurements real, scoring and shares.")
    ] = "phrases-en-de",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for figure and numbers.")] = Path("results/bench"),
) -> int:
    """Compare speed with the transformers library.

    Training, scoring, generation, memory and start-up time.
    """
    from archbench.benchmarks import report, suite
    from archbench.runs.execution import compare

    listed = _listed(only)
    request = suite.Request(device, shape, None if listed is None else tuple(listed), pairs, data)
    ended = suite.run(request, out, compare.cache(), context.obj, say)
    tables, lines = report.written(out)
    for rows in tables:
        print_table(rows)
    typer.echo("\n".join(lines))
    if ended == "interrupted":
        return fail(f"interrupted; the measurements so far are in {out / report.FILE}", 130)
    return int(ended == "failed")


@app.command("predict")
def _predict(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text to continue, classify, translate or summarize.")],
    beams: Annotated[int | None, typer.Option(metavar="N", min=2, max=1000, help="Beam search with N beams.")] = None,
    temperature: Annotated[float | None, typer.Option(metavar="T", help="Sample at this temperature.")] = None,
    top_k: Annotated[int | None, typer.Option(metavar="N", min=1, help="Sample from the N likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="P", help="Nucleus sampling with total probability P.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=2**63 - 1, help="Seed of sampling [default: 0].")
    ] = None,
) -> int:
    """Continue, classify, translate or summarize a text.

    Without options, decodes in the same way as for the test scores.
    """
    from archbench.runs.plans.messages import visible
    from archbench.runs.store import store

    folder = store.find_run(run)
    from archbench.runs.scoring.predict import Choice, predict  # imports torch, so after the quick checks

    answer = predict(folder, text, Choice(beams, temperature, top_k, top_p, seed))
    if answer.cut:
        say(f"the text is longer than the model's source length; its last {answer.cut} tokens were ignored")
    typer.echo(visible(answer.text))
    for label, probability in answer.probabilities:
        typer.echo(visible(f"  {probability:.3f}  {label}"))
    return 0


@app.command("score")
def _score(
    run: Run,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A text on each line or, of .csv, .tsv and .jsonl, in each row.")
    ],
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Columns with the texts of a table [default: those of the run's task]."),
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="F", help="csv or jsonl.")] = "csv",
) -> int:
    """Print the exact log-likelihood of each text in a file.

    For runs that continue text, pretrainings among them. Prints row (from 1), column, log-likelihood (nats), tokens and
    bits per byte of each text. Texts longer than the model's windows are scored in pieces, each after the text before
    it.
    """
    from archbench import plotting
    from archbench.runs.store import store

    layout, folder = plotting.chosen("--format", form, ("csv", "jsonl")), store.find_run(run)
    from archbench.runs.scoring import texts  # imports torch, so after the quick checks

    scored = texts.score(folder, file, _listed(columns))
    if unknown := sum(text.unknown for text in scored):
        say(f"{unknown:,} tokens are unknown to the run's tokenizer, which makes their texts seem likelier")
    for line in texts.lines(scored, layout):
        typer.echo(line)
    return 0


@app.command("inspect")
def _inspect(
    run: Run,
    text: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text to inspect [default: the first wrongly predicted test example]."),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Correct answer to --text [default: what the model answers]."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder for the page [default: inspect/<run> in the comparison's folder]."),
    ] = None,
) -> int:
    """Build a page that shows how a trained model works inside.

    The page shows tokens, embeddings, attention heads, layers, and how the model's answer changed during training.
    """
    from archbench.runs.store import store

    named, folder = named_folder("--out", out), store.find_run(run)
    beside = folder.parent.parent / "inspect" / folder.name if folder.parent.name == "runs" else None
    target = named or beside or Path(f"{folder.name}-inspect")
    from archbench.inspection.inspect import inspect  # imports torch, so after the quick checks
    from archbench.inspection.pages import page

    inspect(folder, text, target, say, answer)
    written, *_ = page.write(page.read(target), target)
    typer.echo(str(written))
    return 0


@app.command("export")
def _export(
    run: Run,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
) -> int:
    """Save a trained run for the transformers library."""
    from archbench.runs.store import store

    folder = store.find_run(run)
    from archbench.runs.export.export import export  # imports torch, so after the quick checks

    exported = export(folder, target)
    typer.echo(f"{target}: {exported.model} ({', '.join(exported.files)})")
    typer.echo(f"README.md is the model card. To load the model and use it, run in that folder:\n\n{exported.usage}")
    return 0


def _status(given: list[str]) -> int:
    """Runs a command; turns a user's mistake into one line on stderr and an exit status."""

    command = typer.main.get_command(app)
    if any("\udc80" <= sign <= "\udcff" for word in given for sign in word):
        return fail("the command contains bytes that are not UTF-8; rename the file or folder", 2)

    def called() -> int:
        command_line = shlex.join(["archbench", *given])
        status = int(command.main(given or ["--help"], "archbench", standalone_mode=False, obj=command_line) or 0)
        # Typer turns an interrupt into a status; bench has printed its own message
        if status == 130 and exits.interrupts and given[:1] != ["bench"]:
            return fail(f"interrupted; {GO_ON}", status)
        return status

    return exits.status(called)


def _listed(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]
