"""Which archbench made something: version and commits."""

from collections.abc import Iterable
from typing import Final

import pandas as pd

from archbench.reports.base.formatting import listing
from archbench.reports.base.tables import Tables
from archbench.version import commit

COMMIT_KEYS: Final = ("archbench_commit", "commit")
PUBLISHED_KEY: Final = "published_commit"  # in tables that were published before runs recorded their commit


def of_tables(tables: Tables) -> str:
    """The version of archbench that planned the runs, and the commits of the code that ran them."""
    experiment = tables["experiment"].dropna(subset=["key", "value"])
    versions = experiment.loc[experiment["key"] == "archbench", "value"].astype(str).tolist()
    rows = pd.concat([experiment[["key", "value"]], tables["environment"][["key", "value"]].dropna()])
    commits = rows.loc[rows["key"].isin(COMMIT_KEYS), "value"].astype(str)
    published = experiment.loc[experiment["key"] == PUBLISHED_KEY, "value"].astype(str).tolist()
    return made_by("".join(versions[:1]), commits, "".join(published[:1]))


def made_by(version: str, commits: Iterable[str], published: str = "") -> str:
    """The version, and the commits of the code that ran.

    If none is recorded: the commit that published the results, else that of the code that makes the page.
    """
    parts = [f"archbench {version or 'of unknown version'}"]
    short = dict.fromkeys(entry[:12] for entry in commits if entry)
    if short:
        parts.append(f"commit{'s' * (len(short) > 1)} {listing(short)}")
    elif published:
        parts.append(f"commit of the runs not recorded; published in commit {published[:12]}")
    elif commit() is not None:
        parts.append(f"commit of the runs not recorded; page made at commit {str(commit())[:12]}")
    return ", ".join(parts)
