"""Which archbench made something: version and commits."""

from collections.abc import Iterable

from archbench.reports.base.formatting import listing
from archbench.version import commit


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
