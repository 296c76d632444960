"""Writes the phrases that `three_families.py` reads, as archbench encodes them: token ids, then texts."""

from pathlib import Path

from archbench.tasks.base.values import Examples, TaskConfig
from archbench.tasks.kinds.task import prepare
from archbench.tasks.text.tokenizers import Tokenizer

DATA = Path(__file__).parent / "data"


def main() -> None:
    phrases = TaskConfig(
        "translation", "phrases", "phrases-en-de", vocabulary=512, source_length=20, target_length=24,
        test_examples=1_000,
    )  # fmt: skip
    prepared = prepare(phrases, DATA / "cache", print)
    for name in ("train", "validation", "test"):
        rows = _lines(getattr(prepared, name), prepared.tokenizer)
        (DATA / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _lines(examples: Examples, tokenizer: Tokenizer) -> list[str]:
    """A line for each pair: the ids of its source, those of its target with END, and both as text."""
    pairs = [[examples[i].source.tolist(), examples[i].target.tolist()] for i in range(len(examples))]
    return ["\t".join([*(" ".join(map(str, ids)) for ids in pair), *map(tokenizer.decode, pair)]) for pair in pairs]


if __name__ == "__main__":
    main()
