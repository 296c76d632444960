"""Checks a result that was submitted to public-v1 as an issue, and joins it with the published rows.

`python -P .github/submission.py OUT` reads the text of the issue from the variable BODY and writes the joined report to
OUT. The exit status is 0 if the result is comparable with the published ones, else 1; a line gives
the reason.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "reference" / "public"
FIELDS = {
    "Repository": r"hub:[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}",
    "Architecture": r"[A-Za-z0-9][\w.:-]{0,99}",
    "Commit of archbench": r"(archbench [\w.]+ \(commit )?[0-9a-f]{7,40}\)?",
    "Source": r"https://[\w./:@%+#?=&~-]{3,500}",
}
MOST_BYTES = 200_000_000


class RefusedError(Exception):
    """Why a result cannot stand beside the published ones."""


def fields(body: str) -> dict[str, str]:
    """The answers of the form, by label; raises ``RefusedError`` where one is missing or malformed."""
    parts = re.split(r"^### (.+?)\s*$", body.replace("\r", ""), flags=re.MULTILINE)
    given = {label.strip(): answer.strip() for label, answer in zip(parts[1::2], parts[2::2], strict=False)}
    for label, pattern in FIELDS.items():
        if not re.fullmatch(pattern, given.get(label, "")):
            raise RefusedError(f"{label}: {given.get(label, '')[:80]!r} does not match the expected format")
    return given


def downloaded(repository: str, place: Path) -> Path:
    """The tables of a data set repository of the hub, and nothing else of it."""
    from huggingface_hub import HfApi, snapshot_download

    name = repository.removeprefix("hub:")
    from archbench.tasks.base.errors import one_line

    try:
        info = HfApi().dataset_info(name, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        wanted = [file for file in sizes if re.fullmatch(r"tables/[a-z_]+\.parquet", file)]
        total = sum(sizes[file] for file in wanted)
        if not wanted or total > MOST_BYTES:
            raise RefusedError(f"{repository}: {len(wanted)} tables, {total} bytes; expected at most 200 MB of tables")
        snapshot_download(name, repo_type="dataset", revision=info.sha, allow_patterns=wanted, local_dir=place)
    except RefusedError:
        raise
    except Exception as error:  # of the hub's client, of the network below it
        raise RefusedError(f"{repository}: {one_line(error)}") from error
    return place


def check(body: str, out: Path, published: Path, fetch: Callable[[str, Path], Path] = downloaded) -> list[str]:
    """Joins the result that an issue names with the ``published`` tables; returns what was found.

    Raises ``RefusedError`` where the form, the tables, their data or budgets are not those of the published rules;
    nothing is left in ``out`` then.
    """
    from archbench.published_tables import merge
    from archbench.tasks.base.errors import InputError

    given = fields(body)
    with tempfile.TemporaryDirectory() as place:
        folder = fetch(given["Repository"], Path(place) / given["Architecture"])
        try:
            merged = merge([published, folder], out)
        except InputError as error:
            raise RefusedError(str(error)) from error
    try:
        return _comparable(given, merged.lines, out / "tables")
    except RefusedError:
        shutil.rmtree(out)
        raise


def _comparable(given: dict[str, str], lines: list[str], tables: Path) -> list[str]:
    """What was found in joined tables that hold the result of the form ``given`` and nothing else that is new."""
    import pandas as pd

    apart = [line for line in lines if "kept apart" in line]
    if apart:
        raise RefusedError("; ".join(apart))
    entries, runs = (pd.read_parquet(tables / f"{name}.parquet") for name in ("entries", "runs"))
    runs = runs[runs["origin"].astype(str).str.split("/").str[0] == given["Architecture"]]
    new = entries.merge(runs[["run", "commit"]], on="run")
    if set(new["architecture"]) != {given["Architecture"]} or len(runs) != new["run"].nunique():
        names = ", ".join(sorted(set(new["architecture"]))) or "none"
        raise RefusedError(f"new architectures in the tables: {names}; the form names {given['Architecture']}")
    commits = set(new["commit"].dropna().astype(str))
    stated = re.findall(r"[0-9a-f]{7,40}", given["Commit of archbench"])[-1]
    if not commits or not all(commit.startswith(stated) for commit in commits):
        raise RefusedError(f"commits in the tables: {', '.join(sorted(commits)) or 'none'}; the form names {stated}")
    seeds = new[new["role"] == "compared"].groupby("dataset")["run"].nunique()
    return [*lines, *(f"{dataset}: {number} new runs" for dataset, number in seeds.items())]


def main(out: Path) -> int:
    try:
        lines = check(os.environ.get("BODY", ""), out, PUBLISHED)
    except RefusedError as error:
        print(f"refused: {error}".replace("`", "'"))
        return 1
    print(
        "\n".join(["accepted: comparable with the published results; next, a maintainer reproduces some runs", *lines])
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
