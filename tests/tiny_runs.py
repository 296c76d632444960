"""Runs of an instant on tiny data of every kind, for tests of what is done with finished runs."""

from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.tasks.base import sealed

TASKS: dict[str, dict[str, object]] = {
    "colours": {"kind": "classification", "data": "things.tsv", "source_length": 8, "vocabulary": 300},
    "turned": {
        "kind": "translation",
        "data": "things.tsv",
        "columns": {"source": "text", "target": "turned"},
        "source_length": 12,
        "target_length": 6,
        "tokenizer": "word",
        "vocabulary": 60,
    },
    "running": {"kind": "generation", "data": "things.txt", "context": 30, "source_length": 18, "tokenizer": "char"},
    "windows": {"kind": "generation", "data": "things.txt", "context": 20, "source_length": 0, "tokenizer": "byte"},
}
MINE = (
    catalogue.find("decoder")
    .text.replace("    Rotary,\n", "    Alibi,\n")
    .replace("Rotary(size.head_dim)", "Alibi(size.heads)")
)


def write_data(place: Path) -> Path:
    """Three files in the folder ``place``: a table, running text, a variant of one's own."""
    things = [f"{colour} {thing} {n}" for colour in ("red", "blue") for thing in ("house", "car") for n in range(30)]
    rows = [f"{text}\t{text.split()[0]}ish\t{' '.join(reversed(text.split()))}" for text in things]
    (place / "things.tsv").write_text("\n".join(["text\tlabel\tturned", *rows]) + "\n")
    (place / "things.txt").write_text(". ".join(things) * 4)
    (place / "mine.py").write_text(MINE)
    return place


def planned(experiment: spec.Experiment, folder: Path, root: Path) -> matrix.Matrix:
    """The runs of an experiment on a CPU, its data cached in ``folder``; nothing is said."""
    return matrix.plan(
        experiment, device="cpu", deterministic=False, cache=folder / "cache", root=root, say=lambda line: None
    )


def experiment(folder: Path, architecture: str, task: str, **training: object) -> spec.Experiment:
    """One run on a task."""
    values = {
        "name": "tiny",
        "architectures": [architecture],
        "budget": {"parameters": 20_000, "tokens": 2_500},
        "model": {"width": 32},
        "training": {"batch_tokens": 250, "learning_rate": 0.01, "precision": "float32", **training},
        "tasks": [{"name": task, "test_examples": 5, **TASKS[task]}],
    }
    return spec.from_dict(values, folder=folder)


def trained(folder: Path, root: Path, architecture: str, task: str, **training: object) -> Path:
    """The folder of a run that was trained for a moment."""
    planned_matrix = planned(experiment(folder, architecture, task, **training), folder, root)
    (plan,) = planned_matrix.plans
    for row in planned_matrix.datasets:
        sealed.write_json(root / "data" / f"{row['dataset']}.json", row)
    place = root / "runs" / plan.run
    work.perform(plan, place, lambda progress: None, lambda: False)
    return place
