"""Makes the reference pages from the tables that are committed beside this file: `make reference`.

The tables of a preset give `NAME/report/index.html` with its figures, the `inspection.json` of a run gives
`inside/NAME/report/index.html`, and `index.html` links to all of them. `ledger.md`, which is committed, and
`ledger.html` say what all comparisons together show of each claim. Nothing else is read, and nothing is fetched. A page
that was made before from the same tables by the same code is kept.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from pathlib import Path

from archbench.inspection.pages import page as inspection
from archbench.reports.base import tables
from archbench.reports.claims import best_evidence, ledger
from archbench.reports.claims.best_evidence import Evidence
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.page import assemble, ledger_page
from archbench.reports.report import Report
from archbench.runs.experiment import spec
from archbench.version import version

HERE = Path(__file__).parent
LEDGER = "ledger"
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>archbench: reference comparisons</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; background: white; }}
li {{ margin-block: 0.5rem; }}
</style>
</head>
<body>
<main>
<h1>archbench: reference comparisons</h1>
<p>Decoder-only, encoder-only and encoder-decoder transformers compared under the same budget. Each page shows what one
preset gave on two CPU cores, with models of at most a few million parameters.</p>
<p><a href="public/report/index.html"><img src="public/in_short.png"
alt="The reference comparison: scores of the three families on seven data sets"></a></p>
<p><a href="ledger.html">The ledger of claims</a>: what all comparisons together show of each claim.</p>
<h2>Comparisons</h2>
<ul>
{compared}
</ul>
<h2>Inside a trained model</h2>
<ul>
{inside}
</ul>
<p>Pages made by {made_by}.</p>
</main>
</body>
</html>
"""


def comparisons(root: Path) -> list[str]:
    """The presets that have tables below ``root``, the reference comparison first."""
    names = sorted(path.parent.parent.name for path in root.glob("*/tables/runs.parquet"))
    return sorted(names, key=lambda name: name != "public")


def inspections(root: Path) -> list[str]:
    """The runs that were looked into."""
    return sorted(path.parent.name for path in root.glob("inside/*/inspection.json"))


def build(root: Path, say: Callable[[str], None], only: Iterable[str] = ()) -> list[Path]:
    """Make the pages below ``root``, or those named in ``only``, the ledger, and the index of all; the pages' paths.

    Raises ``ValueError`` for a name that has no tables.
    """
    by_report: dict[str, list[Evidence]] = {}
    jobs: dict[str, Callable[[Path, Callable[[str], None]], Path]] = {
        name: partial(_comparison, by_report) for name in comparisons(root)
    }
    jobs |= {f"inside/{name}": _inspection for name in inspections(root)}
    jobs |= {LEDGER: partial(_ledger, by_report)} if comparisons(root) else {}
    wanted = list(only) or list(jobs)
    if unknown := [name for name in wanted if name not in jobs]:
        raise ValueError(f"{', '.join(unknown)}: no tables below {root} (there are: {', '.join(jobs)})")
    pages = []
    for place, name in enumerate(wanted, 1):
        started = time.perf_counter()
        pages.append(jobs[name](root / name, say))
        say(f"[{place}/{len(wanted)}] {os.path.relpath(pages[-1])}, {time.perf_counter() - started:.1f} s")
    (root / "index.html").write_text(index(root), encoding="utf-8")
    return pages


def _comparison(by_report: dict[str, list[Evidence]], folder: Path, say: Callable[[str], None]) -> Path:
    """Make a comparison's page; what it says of the claims is kept for the ledger."""
    (page, *_), judged = assemble.report(folder, anew=False, say=say)
    by_report[folder.name] = evidence(folder.name, judged)
    return page


def evidence(name: str, judged: Report) -> list[Evidence]:
    """What a comparison says of each claim."""
    return best_evidence.evidence(name, judged, claim_verdicts(judged))


def _ledger(by_report: dict[str, list[Evidence]], place: Path, say: Callable[[str], None]) -> Path:
    """Write the ledger over all comparisons; those whose page was not made now are judged by their tables."""
    root = place.parent
    for name in comparisons(root):
        if name not in by_report:
            by_report[name] = evidence(name, Report(tables.read(root / name / "tables")))
    records = best_evidence.records([entry for name in comparisons(root) for entry in by_report[name]])
    (root / "ledger.md").write_text(ledger_page.markdown(records, fingerprint(root)), encoding="utf-8")
    page = root / "ledger.html"
    page.write_text(ledger_page.page(records, f"archbench {version()}"), encoding="utf-8")
    return page


def fingerprint(root: Path) -> str:
    """The SHA-256 of all that the ledger is made from, code aside: the comparisons' tables and the claims."""
    digest = hashlib.sha256()
    for path in (*sorted(root.glob("*/tables/*.parquet")), ledger.CLAIMS):
        digest.update(f"{path.parent.parent.name}/{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _inspection(folder: Path, say: Callable[[str], None]) -> Path:
    (folder / "report").mkdir(exist_ok=True)
    page, *_ = inspection.write(inspection.read(folder), folder / "report")
    return page


def index(root: Path) -> str:
    """A page that links to all others."""
    known = spec.presets()
    compared = [_item(name, f"{name}: {known[name]}" if name in known else name) for name in comparisons(root)]
    inside = [_item(f"inside/{name}", name) for name in inspections(root)]
    return INDEX.format(
        compared="\n".join(compared), inside="\n".join(inside), made_by=escape(f"archbench {version()}")
    )


def _item(place: str, text: str) -> str:
    return f'<li><a href="{escape(place)}/report/index.html">{escape(text)}</a></li>'


if __name__ == "__main__":
    try:
        build(HERE, lambda line: print(line, flush=True), sys.argv[1:])
    except ValueError as error:
        sys.exit(f"reference: {error}")
