"""The table of who ran what is that of the published tables."""

import re
from pathlib import Path

from archbench.reports.base import provenance, tables

DOCS = Path(__file__).parents[1] / "docs"


def test_the_table_of_results_is_that_of_the_published_tables() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    for folder in sorted((DOCS / "reference").glob("*/tables")):
        published = tables.read(folder)
        facts = published["environment"].dropna()

        def listed(key: str, facts: object = facts) -> str:
            return ", ".join(sorted(set(facts.loc[facts["key"] == key, "value"])))  # type: ignore[attr-defined]

        commit = listed("archbench_commit")[:12] or "not recorded; published in [0-9a-f]{12}"
        name, runs = folder.parent.name, len(published["runs"])
        text = "README.md" if name == "public" else f"presets.md#{name}"
        row = re.escape(f"| [{name}](reference/{text}) | {runs} | {listed('processor')} | ")
        match = re.search(f"{row}({commit}) \\|", page)
        assert match, name
        assert match[1].split()[-1] in provenance.of_tables(published), f"{name}: the report names another commit"
