"""Prompts: the likelihood of each label's words, exact for every family, on the examples that a seed chooses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch
from test_pretraining import COLOURS, FAMILIES, of_role, perform, planned, trainer

from archbench.architectures.families.prompted import Prompted
from archbench.architectures.objectives.objective import Batch
from archbench.runs.planning.matrix import Matrix
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import finished
from archbench.runs.store import store
from archbench.runs.training import from_plan, prompts, weight_transfer
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared

TASK = {**COLOURS, "start": "own", "adapt": "prompt", "shots": [0, 2]}


def prompted(place: Path, root: Path, **changes: Any) -> Matrix:
    return planned(place, root, tasks=[TASK | changes], pretraining=[{"name": "own", "data": "things.txt", **LONG}])


LONG = {"vocabulary": 300, "context": 64, "test_examples": 4}


def pretrained(matrix: Matrix, root: Path) -> None:
    for plan in of_role(matrix, "pretraining"):
        perform(plan, root)


def runs(matrix: Matrix, family: str) -> list[Plan]:
    return [plan for plan in (*matrix.plans, *matrix.later) if plan.architecture == family and not plan.objective]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def root(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("out")
    pretrained(prompted(folder, place), place)
    return place


def model(plan: Plan, root: Path) -> tuple[Prompted, Prepared]:
    training = trainer(plan, weight_transfer.load(root / "runs" / plan.start, plan.start))
    return training.model.eval(), from_plan.prepared_data(plan)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_is_as_likely_as_its_words_after_the_prompt(folder: Path, root: Path, family: str) -> None:
    """Against the pretrained model itself, read a text at a time without padding."""
    for plan in runs(prompted(folder, root), family):
        prompted_model, prepared = model(plan, root)
        start = weight_transfer.load(root / "runs" / plan.start, plan.start)
        tokenizer, fills = start.tokenizer, family == "encoder-decoder"
        mark = [tokenizer.label_ids[0]] if fills else []
        texts = [prepared.test.source_text(place) for place in range(3)]
        shots = "".join(
            f"{prepared.train.source_text(place)}\n{prepared.train.target_text(place)}\n"
            for place in prompts.chosen(prepared.train, plan.shots, plan.seed)
        )
        sources = [prepared.test[place].source for place in range(3)]
        width = max(map(len, sources))
        source = torch.tensor([[*tokens, *[0] * (width - len(tokens))] for tokens in sources])
        mask = torch.tensor([[place < len(tokens) for place in range(width)] for tokens in sources])
        with torch.no_grad():
            scores = prompted_model(source, source[:, :1], mask)[:, 0, list(prepared.tokenizer.label_ids)]
        every = torch.ones(tokenizer.vocabulary, dtype=torch.bool)
        for row, text in enumerate(texts):
            pieces = [shots, text, "\n"] if not shots else [*_lines(shots), text, "\n"]
            prompt_ids = [token for piece in pieces for token in tokenizer.encode(piece)] + mark
            for place, label in enumerate(prepared.tokenizer.labels):
                words = torch.tensor([[*mark, *tokenizer.encode(label)]])
                batch = Batch(torch.tensor([prompt_ids]), words)
                log_p = prompted_model.base.objective.log_likelihood(prompted_model.base, batch, every)[0]
                assert float(scores[row, place]) == pytest.approx(float(log_p), abs=1e-3)


def _lines(text: str) -> list[str]:
    return [piece for line in text.splitlines() for piece in (line, "\n")]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompted_run_is_scored_without_training(folder: Path, root: Path, family: str) -> None:
    for plan in runs(prompted(folder, root), family):
        record = store.read_record(perform(plan, root))
        assert record is not None and record["status"] == "done" and record["train_tokens"] == 0
        assert (record["adapt"], record["shots"], record["examples"]) == ("prompt", plan.shots, plan.shots)
        scores = {row["metric"] for row in sealed.read_json(root / "runs" / plan.run / "scores.json")}
        assert "accuracy" in scores
        with pytest.raises(InputError, match="no weights of its own"):
            finished.read(root / "runs" / plan.run)


def test_shots_are_nested_even_over_labels_and_a_function_of_the_seed(folder: Path, tmp_path: Path) -> None:
    plan = runs(prompted(folder, tmp_path), "decoder")[0]
    train = from_plan.prepared_data(plan).train
    four, three = prompts.chosen(train, 4, 7), prompts.chosen(train, 3, 7)
    assert four[:3] == three and len(set(four)) == 4
    labels = [int(train[place].target[0]) for place in four]
    assert np.ptp(np.unique(labels, return_counts=True)[1]) <= 1
    assert any(prompts.chosen(train, 4, seed) != four for seed in range(8, 12))


def test_verbalizers_replace_the_names_of_labels(folder: Path, root: Path) -> None:
    plain = runs(prompted(folder, root), "decoder")[0]
    label = from_plan.prepared_data(plain).tokenizer.labels[0]
    plan = runs(prompted(folder, root, verbalizers={label: "zzz"}), "decoder")[0]
    assert plan.run != plain.run
    prompted_model, _ = model(plan, root)
    tokenizer = weight_transfer.load(root / "runs" / plan.start, plan.start).tokenizer
    assert list(prompted_model.prompt.words[0]) == tokenizer.encode("zzz")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shots": 40}, r"tasks\.colours\.shots: 40: the longest prompt has .* at most \d+ fit"),
        ({"shots": [900]}, r"shots: 900: there are .* training examples; give at most as many"),
        ({"verbalizers": {"reed": "a"}}, r'verbalizers: no label "reed"'),
        ({"start": "scratch"}, r'tasks\[0\]\.adapt: "prompt" needs a pretraining in start'),
        ({"adapt": "finetune"}, r'tasks\[0\]\.shots: belongs to adapt = "prompt"'),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(
    folder: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises(InputError, match=words):
        prompted(folder, tmp_path, **changes)
