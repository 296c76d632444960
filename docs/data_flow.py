"""Draws `docs/data_flow.svg`, the way from an experiment file to the report's page: `python docs/data_flow.py`."""

from html import escape
from pathlib import Path

FILE, ROOM = "file", "room"
STEPS = [  # kind, name, what happens there, what it uses
    (FILE, "experiment.toml", "what is compared, on what, under which budget", ""),
    (ROOM, "runs/experiment", "checks every key, fills in what is left open", ""),
    (ROOM, "runs/planning", "fits sizes to the budget, names every run", "tasks/kinds: examples, tokenizer"),
    (ROOM, "runs/execution", "starts worker processes, skips finished runs", ""),
    (ROOM, "runs/training", "batches, steps, checkpoints", "architectures/families, objectives"),
    (ROOM, "runs/scoring", "likelihoods, answers, scores", "tasks/metrics, references"),
    (FILE, "DIR/runs/RUN/", "one sealed folder for each run", ""),
    (ROOM, "reports/base", "gathers the records of all runs", ""),
    (FILE, "DIR/tables/*.parquet", "all that the page needs", ""),
    (ROOM, "reports/questions, contrasts", "scores, intervals, tests, verdicts", "reports/results"),
    (ROOM, "reports/claims, figures", "judges the ledger of claims, draws", ""),
    (ROOM, "reports/page", "puts the page together", ""),
    (FILE, "DIR/report/index.html", "one file, no scripts, no network", ""),
]
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328; }
.name { font: 600 14px ui-monospace, monospace; }
.small { font-size: 13px; fill: #59636e; }
.back { fill: #ffffff; }
.room { fill: #ddf4ff; stroke: #0969da; }
.file { fill: #fff8c5; stroke: #9a6700; }
.arrow { stroke: #59636e; fill: none; }
.tip { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .small { fill: #9198a1; }
  .back { fill: #0d1117; }
  .room { fill: #121d2f; stroke: #4493f8; }
  .file { fill: #272115; stroke: #d29922; }
  .arrow { stroke: #9198a1; }
  .tip { fill: #9198a1; }
}"""
WIDTH, LEFT, BOX, HEIGHT, GAP, TOP = 860, 20, 230, 34, 16, 20


def svg() -> str:
    """The picture; its colours follow the reader's light or dark scheme."""
    parts = []
    for place, (kind, name, what, uses) in enumerate(STEPS):
        y = TOP + place * (HEIGHT + GAP)
        middle = y + HEIGHT / 2 + 5
        corner = 2 if kind == FILE else 10
        parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="{corner}"/>')
        parts.append(f'<text class="name" x="{LEFT + 12}" y="{middle}">{escape(name)}</text>')
        parts.append(f'<text x="{LEFT + BOX + 20}" y="{middle}">{escape(what)}</text>')
        if uses:
            parts.append(f'<text class="small" x="{LEFT + BOX + 345}" y="{middle}">← {escape(uses)}</text>')
        if place:
            x, end = LEFT + BOX / 2, y - 2
            parts.append(f'<path class="arrow" d="M{x} {y - GAP}V{end - 4}"/>')
            parts.append(f'<path class="tip" d="M{x - 4} {end - 6}h8l-4 6z"/>')
    width, height = WIDTH, TOP + len(STEPS) * (HEIGHT + GAP) + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
            "<title>From an experiment file to the report's page</title>",
            f"<style>{STYLE}\n</style>",
            f'<rect class="back" width="{width}" height="{height}"/>',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    (Path(__file__).parent / "data_flow.svg").write_text(svg(), encoding="utf-8")
