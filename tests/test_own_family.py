"""A variant may bring a family of its own: it is checked, trained, scored and reported like the three."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import archbench
from archbench.architectures import contract
from archbench.runs.export.export import export
from archbench.runs.scoring.predict import predict
from archbench.tasks.base.errors import InputError

VARIANT = '''"""A family of its own: its state is that of two stacks, one after the other, over one sequence."""

from archbench.architectures import Attention, Block, Causal, DecoderOnly, Embedding, Family, GatedFeedForward, Head
from archbench.architectures import LayerNorm, Limits, Rotary, Size, Stack, StateIndex, States


class Relay(Family):
    """Reads and writes as the model that it hands everything on to."""

    family = "relay"
    source_predicts = True

    def __init__(self, inner):
        super().__init__()
        self.inner, self.head, self.objective = inner, inner.head, Causal()

    def hidden(self, source, target, source_mask=None, target_mask=None, at: StateIndex | None = None) -> States:
        return self.inner.hidden(source, target, source_mask, target_mask, at)

    def prefill(self, source, source_mask=None):
        return self.inner.prefill(source, source_mask)

    def decode(self, tokens, cache):
        return self.inner.decode(tokens, cache)

    def flops(self, source, target, outputs):
        return self.inner.flops(source, target, outputs)


def build(size: Size, limits: Limits) -> Relay:
    def block() -> Block:
        feedforward = GatedFeedForward(size.dim, size.hidden)
        return Block(Attention(size.dim, size.heads), feedforward, LayerNorm, dropout=size.dropout)

    stack = Stack(size.depth, block, LayerNorm(size.dim))
    embedding = Embedding(limits.vocabulary, size.dim, dropout=size.dropout)
    return Relay(DecoderOnly(embedding, stack, Head(limits.vocabulary, size.dim), positions=Rotary(size.head_dim)))
'''
EXPERIMENT = """
name = "families"
architectures = ["decoder", "relay.py"]
seeds = [0]
[budget]
parameters = 20_000
tokens = 3_000
[model]
width = 32
heads = 2
[training]
precision = "float32"
[[tasks]]
kind = "classification"
name = "colours"
data = { train = "train.csv", test = "test.csv" }
tokenizer = "word"
source_length = 8
test_examples = 6
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment with the variant, and its comparison in ``out``."""
    place = tmp_path_factory.mktemp("families")
    (place / "relay.py").write_text(VARIANT)
    (place / "families.toml").write_text(EXPERIMENT)
    rows = [f"{colour} {thing},{colour}" for colour in ("red", "blue") for thing in ("house", "car", "tree", "boat")]
    for name in ("train.csv", "test.csv"):
        more = [f"{row.replace(',', f' {n},')}" for row in rows for n in range(12 if name == "train.csv" else 2)]
        (place / name).write_text("\n".join(["text,label", *more]))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ARCHBENCH_CACHE", str(place / "cache"))
        patched.setattr(contract, "USUAL", replace(contract.QUICK, name="usual"))
        archbench.compare(str(place / "families.toml"), out=place / "out", jobs=1)
    return place


def test_it_is_trained_scored_and_reported(folder: Path) -> None:
    runs = pd.read_parquet(folder / "out" / "tables" / "runs.parquet").set_index("architecture")
    assert runs.loc["relay", "family"] == "relay" and set(runs["status"]) == {"done"}
    scores = pd.read_parquet(folder / "out" / "tables" / "scores.parquet")
    for metric in ("accuracy", "nll_per_token"):
        values = scores[(scores["metric"] == metric) & (scores["split"] == "test")].set_index("run")["value"]
        assert values[runs.loc["relay", "run"]] == pytest.approx(values[runs.loc["decoder", "run"]], rel=1e-5)
    assert "relay" in (folder / "out" / "report" / "index.html").read_text()


def test_it_answers_and_is_not_exported(folder: Path, tmp_path: Path) -> None:
    (run,) = (folder / "out" / "runs").glob("colours-relay-*")
    assert predict(run, "red house").text in ("red", "blue")
    with pytest.raises(InputError, match="no class of transformers reads models of the family 'relay'"):
        export(run, tmp_path / "exported")
