"""A report, and its models if asked for, on the Hugging Face hub: ``archbench push``."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from archbench.tasks.base.progress import Say

MODELS = "-models"  # what the name of the repository of models ends with
CARD = "README.md"


@dataclass(frozen=True)
class Upload:
    """A repository, and the folder that it is to hold."""

    repository: str
    kind: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def push(root: Path, target: str, models: bool, dry_run: bool, say: Say) -> list[str]:
    """Puts the report of the comparison in ``root`` into the data set repository ``target`` ("hub:owner/name").

    The texts of data sets stay here, as with ``report --publish``. With ``models``, one model of each architecture and
    data set goes to the repository of models ``owner/name-models``. Returns a line for each repository, or, with
    ``dry_run``, for each file. Raises ``InputError`` for a wrong target, and where the hub does not take it.
    """
    from archbench.reports.page import publish
    from archbench.tasks.base.errors import InputError

    repository = _repository(target)
    if not dry_run:
        _check_login(repository)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.mkdir()
        if not (root / "tables" / "runs.parquet").is_file():
            raise InputError(f"{root}: no tables here; run archbench report first")
        try:
            publish.publish(root, report)
        except ValueError as error:
            raise InputError(str(error)) from error
        (report / CARD).write_text(_card(root, report), encoding="utf-8")
        uploads = [Upload(repository, "dataset", report)]
        if models:
            exported = Path(folder) / "models"
            _export(root, exported, say)
            uploads.append(Upload(repository + MODELS, "model", exported))
        for upload in uploads:
            lines += _listing(upload) if dry_run else [_sent(upload)]
    return lines


def _repository(target: str) -> str:
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError
    from archbench.tasks.data import hub

    match = hub.NAME.fullmatch(target)
    if match is None or "/" not in match[1] or match[2] or match[3]:
        raise InputError(f"push: {printable(target)}: expected hub:owner/name")
    return match[1]


def _card(root: Path, report: Path) -> str:
    """The card of the repository: what was compared, how it was made, how to read and to reproduce it."""
    from archbench.reports.base import tables
    from archbench.reports.base.declared import specification

    published = tables.read(report / "tables")
    facts = dict(published["experiment"].dropna().drop_duplicates("key").itertuples(index=False, name=None))
    name = str(specification(published).get("name") or facts.get("name") or root.resolve().name)
    compared = published["entries"][(published["entries"]["role"] == "compared").fillna(False)]
    architectures, datasets = (compared[key].dropna().unique() for key in ("architecture", "dataset"))
    licences = published["datasets"][["dataset", "licence"]].dropna().itertuples(index=False, name=None)
    lines = [
        "---",
        "tags: [archbench]",
        "---",
        f"# {name}",
        "",
        f"A comparison by [archbench](https://pypi.org/project/archbench/): {', '.join(architectures)} on "
        f"{', '.join(datasets)}; {len(published['runs'])} runs.",
        "",
        "- `report/index.html`: the report. `tables/`: its data, as Parquet and CSV.",
        "- Data set text is not included. Licences of the data sets:",
        *(f"  - {dataset}: {licence}" for dataset, licence in licences),
        "- To reproduce some runs, download this repository and run `archbench reproduce FOLDER`.",
        "- To merge with your own results: `archbench merge FOLDER YOURS --out JOINED`.",
        "",
    ]
    return "\n".join(lines)


def _export(root: Path, target: Path, say: Say) -> None:
    """The first finished run of each architecture on each data set, as a model of transformers."""
    from archbench.reports.base import tables
    from archbench.runs.export.export import export
    from archbench.runs.store import store
    from archbench.tasks.base.errors import InputError

    published = tables.read(root / "tables")
    entries = published["entries"][(published["entries"]["role"] == "compared").fillna(False)]
    done = published["runs"].loc[(published["runs"]["status"] == "done").fillna(False), ["run", "seed"]]
    first = entries.merge(done, on="run").sort_values("seed").drop_duplicates(["dataset", "architecture"])
    target.mkdir(parents=True)
    for run in first["run"]:
        try:
            export(store.run_folder(root, run), target / run)
        except InputError as error:
            say(f"{run}: not exported: {error}")
    if not any(target.iterdir()):
        raise InputError(f"{root}: --models: no run here can be exported")


def _listing(upload: Upload) -> list[str]:
    """Lines that list the files to upload, with their sizes."""
    sizes = [(path.relative_to(upload.folder), path.stat().st_size) for path in upload.files]
    total = sum(size for _, size in sizes)
    head = f"{upload.kind} {upload.repository}: {len(sizes)} files, {total / 1e6:,.1f} MB"
    return [head, *(f"  {path} ({size:,} bytes)" for path, size in sizes)]


def _check_login(repository: str) -> None:
    """Raises ``InputError`` without a login, before anything slow is made."""
    from huggingface_hub import get_token

    from archbench.tasks.base.errors import InputError

    if get_token() is None:
        raise InputError(f"hub:{repository}: not logged in; run 'hf auth login' or set HF_TOKEN")


def _sent(upload: Upload) -> str:
    """Creates the repository if need be and uploads the folder in one commit."""
    from huggingface_hub import HfApi

    from archbench.tasks.base.errors import InputError, one_line

    try:
        api = HfApi()
        api.create_repo(upload.repository, repo_type=upload.kind, exist_ok=True)
        commit = api.upload_folder(
            repo_id=upload.repository,
            repo_type=upload.kind,
            folder_path=upload.folder,
            commit_message="Upload archbench results",
        )
    except Exception as error:  # of the hub's client, of the network below it
        raise InputError(
            f"hub:{upload.repository}: {one_line(error)}; check network and name, and that the token may write"
        ) from error
    return f"{upload.kind} {upload.repository}: {len(upload.files)} files, {commit.commit_url}"
