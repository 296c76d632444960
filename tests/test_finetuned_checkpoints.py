"""Checkpoints of transformers as a start: finetuned by archbench's loop, with the losses that transformers has."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoint_folders
import exported
import pytest
import small_plans
import tiny_runs
import torch
import transformers
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import archbench
from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion import hub
from archbench.architectures.families.variant import Variant
from archbench.architectures.objectives.objective import Batch
from archbench.inspection import subject
from archbench.runs.execution import work
from archbench.runs.export import export
from archbench.runs.export.finetuned import FinetunedCheckpoint
from archbench.runs.export.usage import AUTO
from archbench.runs.plans.messages import Interrupted
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import finished, predict
from archbench.runs.scoring.finished import FinishedRun
from archbench.runs.store import store, weights
from archbench.runs.training import from_plan
from archbench.runs.training.step import Trainer
from archbench.runs.updates import optimizer
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import END, SPECIALS
from archbench.tasks.text.tokenizers import from_library_json

STEPS = 50
RECIPE = {
    "batch_tokens": 200,
    "learning_rate": 0.003,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "precision": "float32",
}
LABELS = {"kind": "classification", "data": "phrases-en-de:300", "name": "kinds", "source_length": 24}
GERMAN = {
    "kind": "translation",
    "data": "phrases-en-de:300",
    "name": "german",
    "source_length": 24,
    "target_length": 60,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_runs.write_data(tmp_path_factory.mktemp("data"))
    for name, make in (
        ("gpt2", checkpoint_folders.gpt2),
        ("llama", checkpoint_folders.llama),
        ("bert", checkpoint_folders.bert),
        ("modernbert", checkpoint_folders.modernbert),
        ("t5", checkpoint_folders.t5),
    ):
        make(folder / name)
        without_dropout(folder / name)
    return folder


def without_dropout(folder: Path) -> None:
    """So that losses do not depend on what is dropped."""
    config = json.loads((folder / "config.json").read_text())
    dropped = {key: 0.0 for key in config if "drop" in key and isinstance(config[key], float)}
    (folder / "config.json").write_text(json.dumps(config | dropped))


def planned(data: Path, root: Path, name: str, task: dict[str, Any], **changes: Any) -> list[Plan]:
    settings = {
        "name": "tiny",
        "architectures": ["decoder"],
        "budget": {"parameters": 20_000, "tokens": 3_000},
        "model": {"width": 32},
        "training": RECIPE,
        "tasks": [{**task, "start": ["scratch", f"./{name}"], "test_examples": 8, **changes}],
    }
    return [plan for plan in small_plans.plan(settings, data, root).plans if plan.architecture == f"./{name}"]


def batches(trainer: Trainer) -> list[Batch]:
    return [batch for batch, _ in trainer.stream(10**6).start()][:STEPS]


def theirs_trained(model: Any, batches_read: list[Batch], loss: Callable[[Any, Batch], torch.Tensor]) -> list[float]:
    """The losses of a model of transformers under PyTorch's AdamW."""
    model.train()
    adamw = torch.optim.AdamW(model.parameters(), lr=0.003, betas=optimizer.BETAS, weight_decay=0.0)
    losses = []
    for step, batch in enumerate(batches_read):
        for group in adamw.param_groups:
            group["lr"] = 0.003 * optimizer.schedule(step / STEPS, 0.05)
        value = loss(model, batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
        losses.append(value.item())
    return losses


def ours_trained(trainer: Trainer, read: list[Batch]) -> list[float]:
    return [float(trainer.step(batch, step, step / STEPS).loss) for step, batch in enumerate(read)]


def rows(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """Each source and target without padding."""
    pairs = zip(batch.source.tolist(), batch.target.tolist(), batch.source_lengths, batch.target_lengths, strict=True)
    return [(source[:s], target[:t]) for source, target, s, t in pairs]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_decoders_have_the_losses_of_transformers(data: Path, tmp_path: Path, name: str) -> None:
    """Source and target in one text; a loss on the target and the end of text."""
    (plan,) = planned(data, tmp_path, name, GERMAN)
    trainer = from_plan.new_trainer(plan, from_plan.prepared_data(plan))
    end, shift = AutoTokenizer.from_pretrained(data / name).eos_token_id, len(SPECIALS)
    allowed = [
        token - shift if token >= shift else end
        for token in trainer.training_step.allowed_tokens.nonzero().flatten().tolist()
    ]
    place = {
        token: number for number, token in enumerate(trainer.training_step.allowed_tokens.nonzero().flatten().tolist())
    }

    def loss(model: Any, batch: Batch) -> torch.Tensor:
        total, count = torch.zeros(()), 0
        for source, target in rows(batch):
            ids = torch.tensor([[token - shift if token >= shift else end for token in [*source, *target]]])
            logits = model(ids[:, :-1]).logits[0, len(source) - 1 :][:, allowed]
            total = total + F.cross_entropy(logits, torch.tensor([place[token] for token in target]), reduction="sum")
            count += len(target)
        return total / count

    read = batches(trainer)
    theirs = theirs_trained(AutoModelForCausalLM.from_pretrained(data / name), read, loss)
    assert ours_trained(trainer, read) == pytest.approx(theirs, abs=2e-4)
    assert theirs[-1] < theirs[0] - 1


def test_bert_has_the_losses_of_transformers(data: Path, tmp_path: Path) -> None:
    """A label is a new token, which begins as the mean of its name's, in place of the mask behind the text."""
    (plan,) = planned(data, tmp_path, "bert", LABELS)
    prepared = from_plan.prepared_data(plan)
    trainer = from_plan.new_trainer(plan, prepared)
    tokenizer, model = (kind.from_pretrained(data / "bert") for kind in (AutoTokenizer, AutoModelForMaskedLM))
    names = prepared.tokenizer.labels
    shift, size = len(SPECIALS) + len(names), len(tokenizer)
    with torch.no_grad():
        means = [
            [part[tokenizer.encode(f" {name}", add_special_tokens=False)].mean(0) for name in names]
            for part in (model.bert.embeddings.word_embeddings.weight, model.cls.predictions.bias)
        ]
        model.resize_token_embeddings(size + len(names), mean_resizing=False)
        model.bert.embeddings.word_embeddings.weight[size:] = torch.stack(means[0])
        model.cls.predictions.decoder.bias[size:] = torch.stack(means[1])

    def loss(model: Any, batch: Batch) -> torch.Tensor:
        total = torch.zeros(())
        for source, target in rows(batch):
            text = [token - shift if token >= shift else tokenizer.unk_token_id for token in source]
            ids = torch.tensor([[tokenizer.cls_token_id, *text, tokenizer.sep_token_id, tokenizer.mask_token_id]])
            logits = model(ids).logits[:, -1, size:]
            total = total + F.cross_entropy(logits, torch.tensor([target[0] - len(SPECIALS)]))
        return total / len(batch.target)

    read = batches(trainer)
    theirs = theirs_trained(model, read, loss)
    assert ours_trained(trainer, read) == pytest.approx(theirs, abs=2e-4)
    assert min(theirs) < theirs[0] - 0.3


def perform(plan: Plan, root: Path, steps: int | None = None) -> Path:
    place, calls = root / "runs" / plan.run, iter(range(10**9))
    work.perform(plan, place, lambda progress: None, lambda: steps is not None and next(calls) >= steps)
    return place


def test_checkpoints_alone_are_compared(data: Path, tmp_path: Path) -> None:
    task = {**LABELS, "data": str(data / "things.tsv"), "start": [str(data / "gpt2"), str(data / "bert")]}
    settings = {
        "name": "checkpoints",
        "architectures": ["decoder"],
        "seeds": [0, 1],
        "budget": {"parameters": 20_000, "tokens": 1_000},
        "training": RECIPE,
        "tasks": [
            {**task, "examples": [20, 60], "test_examples": 8, "tuned": {"./bert": {"learning_rate": 0.0004}}},
        ],
    }
    tables = archbench.compare(settings, tmp_path / "out", jobs=1)
    runs = tables["runs"]
    assert set(runs["status"]) == {"done"} and sorted(set(runs["architecture"])) == ["./bert", "./gpt2"]
    assert sorted(zip(runs["start"], runs["examples"], strict=True)) == sorted(
        (name, count) for name in ("./bert", "./gpt2") for count in (20, 60) for _ in range(2)
    )
    assert set(runs.loc[runs["architecture"] == "./bert", "learning_rate"]) == {0.0004}
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "after ./gpt2" in page and "their earlier training is in no budget" in page
    assert "the earlier training of ./gpt2 and ./bert is in no budget" in page
    assert "Only ./gpt2" not in page and "Early training" not in page


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "modernbert", "t5"])
def test_a_finetuned_checkpoint_is_a_run_that_resumes_and_answers(data: Path, tmp_path: Path, name: str) -> None:
    (plan,) = planned(data, tmp_path, name, LABELS, examples=100)
    whole = perform(plan, tmp_path / "whole")
    record = store.read_record(whole)
    assert record is not None and record["status"] == "done" and record["train_tokens"] >= 3_000
    assert (record["start"], record["adapt"], record["examples"]) == (f"./{name}", "finetune", 100)
    assert "pretraining_tokens" not in record and record["match"] == "parameters"
    with pytest.raises(Interrupted):
        perform(plan, tmp_path / "again", steps=6)
    again = perform(plan, tmp_path / "again")
    assert (whole / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    kept = weights.unpacked((whole / "model.safetensors").read_bytes(), plan.run)
    read = finished.read(whole).model.state_dict()
    assert all(torch.equal(read[key], value) for key, value in kept.items()), "the weights after finetuning, not before"
    answer = predict.predict(whole, "twenty days")
    assert sum(probability for _, probability in answer.probabilities) == pytest.approx(1.0)
    with pytest.raises(InputError, match="a checkpoint of transformers, which cannot be inspected"):
        subject.read(whole)


@torch.no_grad()
def exported_as_run(place: Path, target: Path) -> tuple[FinishedRun, Any, Any]:
    """Exports a finetuned checkpoint: its logits and, where they are greedy, its answers are those of the run."""
    result, run = export.export(place, target), finished.read(place)
    tokenizer = AutoTokenizer.from_pretrained(target)
    kind = getattr(transformers, AUTO[run.model.family])
    model, report = kind.from_pretrained(target, output_loading_info=True)
    assert not any(report.values()) and type(model).__name__ == result.model
    ids = torch.tensor(FinetunedCheckpoint(run).ids)
    used = torch.tensor([token for token in range(len(ids)) if token >= len(SPECIALS) or run.allowed_tokens[token]])
    # rows of the checkpoint's own special tokens are left out: no text has them, and ours may be in their places
    used = used[(used < run.tokenizer.text_ids[0]) | torch.tensor(run.tokenizer.writable)[used]]
    ours = used[torch.randint(len(used), (3, 9), generator=torch.Generator().manual_seed(0))]
    if run.model.family == "encoder-decoder":
        expected, logits = run.model(ours, ours), model(ids[ours], decoder_input_ids=ids[ours]).logits
    else:
        mask = torch.ones_like(ours)
        expected, logits = run.model(None, ours), model(ids[ours], attention_mask=mask).logits
    torch.testing.assert_close(logits[..., ids[used]], expected[..., used], atol=1e-4, rtol=0)
    if run.form != "running text":
        for text in ("twenty days", "\u6f22 the third of March, a lovely [SEP] </s> <|endoftext|> day " * 3):
            code = exported.asking(result.usage, text).replace('folder = "."', f"folder = {str(target)!r}")
            assert exported.printed(code).strip() == predict.predict(place, text).text.strip()
    else:
        exported.printed(result.usage.replace('folder = "."', f"folder = {str(target)!r}"))
        ours, theirs = greedy(run, model, tokenizer, "a lovely")
        assert ours == theirs and (ours or run.ends)
    return run, model, tokenizer


def greedy(run: FinishedRun, model: Any, tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """How the run goes on with a text, and how its export does; of an encoder, the first token."""
    limits, numbering = run.plan.limits, FinetunedCheckpoint(run)
    tokens, nothing = torch.tensor([run.tokenizer.encode(text)]), torch.zeros(1, 0, dtype=torch.long)
    source, start = (tokens, None) if limits.source_length else (nothing, tokens)
    room = limits.target_length if start is None else limits.target_length - tokens.shape[1]
    allowed, objective = run.allowed_tokens, run.model.objective
    (written,) = objective.generate(run.model, source, None, allowed, Decoding(room), start=start)
    ours = [numbering.ids[token] for token in written.tolist()]
    prompt = tokenizer(text, return_tensors="pt")
    if run.model.family == "encoder":
        cells = torch.full((1, room), tokenizer.mask_token_id)
        logits = model(torch.cat([prompt["input_ids"], cells], 1)).logits[0, prompt["input_ids"].shape[1]]
        logits[numbering.suppressed] = float("-inf")
        return ours[:1], [int(logits.argmax())]
    settings = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if run.model.family == "encoder-decoder" and start is not None:
        empty, begun = torch.tensor([numbering.empty_source]), prompt["input_ids"]
        return ours, model.generate(empty, decoder_input_ids=begun, **settings)[0, begun.shape[1] :].tolist()
    skipped = 1 if run.model.family == "encoder-decoder" else prompt["input_ids"].shape[1]
    whole = model.generate(**prompt, **settings)[0, skipped:].tolist()
    return ours, whole[: whole.index(numbering.ids[END])] if run.ends and numbering.ids[END] in whole else whole


@torch.no_grad()
def label_scores(run: FinishedRun, again: Variant) -> float:
    """The greatest difference between the label probabilities of a run and of its export, read as a checkpoint."""
    assert again.checkpoint is not None
    labels, text = run.tokenizer.labels, "twenty days"
    tokenizer = from_library_json(again.checkpoint.tokenizer, labels)
    limits = replace(run.plan.limits, vocabulary=tokenizer.vocabulary)
    scores = []
    for model, encoder in ((run.model, run.tokenizer), (again.checkpoint.build(limits, labels), tokenizer)):
        allowed = torch.zeros(encoder.vocabulary, dtype=torch.bool)
        allowed[list(encoder.label_ids)] = True
        pairs = Batch(torch.tensor([encoder.encode(text)] * len(labels)), torch.tensor(encoder.label_ids)[:, None])
        scores.append(model.objective.log_likelihood(model, pairs, allowed)[0])
    return float((scores[0] - scores[1]).abs().max())


@pytest.mark.parametrize("task", ["labels", "german", "running", "windows"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "modernbert", "t5"])
def test_a_finetuned_checkpoint_is_exported(data: Path, tmp_path: Path, name: str, task: str) -> None:
    running = {"kind": "generation", "data": str(data / "things.txt"), "name": "running", "context": 24}
    tasks = {
        "labels": LABELS,
        "german": {**GERMAN, "target_length": 8, "budget": {"tokens": 1_500}},
        "running": {**running, "source_length": 12},
        "windows": {**running, "source_length": 0},
    }
    (plan,) = planned(data, tmp_path, name, tasks[task])
    run, model, tokenizer = exported_as_run(perform(plan, tmp_path), tmp_path / "exported")
    own = AutoTokenizer.from_pretrained(data / name)
    text = "a lovely day"
    plain = own.encode(text, add_special_tokens=False)
    assert tokenizer.encode(text, add_special_tokens=False) == plain
    assert tokenizer.get_vocab().items() >= own.get_vocab().items()
    if task == "labels" and name != "t5":  # its model has more rows than its tokenizer has tokens
        assert tokenizer.encode(text) == own.encode(text)
        assert len(tokenizer) == model.config.vocab_size == len(own) + len(run.tokenizer.labels)
    if task == "labels":
        assert label_scores(run, catalogue.find(str(tmp_path / "exported"))) < 1e-4
    card = (tmp_path / "exported" / "README.md").read_text()
    assert f"that was trained elsewhere (the checkpoint ./{name}) and finetuned by archbench" in card
    assert f", {model.config.vocab_size:,} tokens) never encodes" in card and "held equal" not in card
    assert "Training was short" not in card and f"limits of the checkpoint ./{name} apply too" in card


def test_a_checkpoint_of_the_hub_is_found_by_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    def download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        requests.append((name, revision))
        assert not any(pattern in ("*", "*.bin", "*.py") for pattern in allow_patterns)
        return str(data / "gpt2")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    variant = catalogue.find("hub:owner/tiny@main")
    assert requests == [("owner/tiny", "main")] and (variant.name, variant.family) == ("owner/tiny@main", "decoder")


def test_a_hub_that_is_not_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> str:
        raise OSError("no route\nto the host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(InputError, match=r"hub:owner/tiny cannot be downloaded .*folder of a local copy") as raised:
        hub.folder("hub:owner/tiny")
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="is not a hub name"):
        hub.folder("hub:../../etc")


def test_what_is_wrong_with_a_checkpoint_is_said_before_training(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "gpt2", tmp_path / "cut")
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[:200])
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("cut", "model.safetensors cannot be read"),
        ("empty", "no checkpoint of transformers: there is no config.json in it; save a model"),
        ("absent", "does not exist"),
    ):
        with pytest.raises(InputError, match=rf"tasks\.kinds\.start: .*{message}"):
            planned(data, tmp_path / "out", f"../{name}", LABELS, start=["scratch", str(tmp_path / name)])


def test_a_checkpoint_is_held_to_the_epochs_too(data: Path, tmp_path: Path) -> None:
    short = {**LABELS, "budget": {"tokens": 4_000, "epochs": 0.5}}
    with pytest.raises(InputError, match=r"kinds\.budget\.epochs: 0\.5: \./gpt2 would read its .* training tokens"):
        planned(data, tmp_path / "out", "gpt2", short, start=["./gpt2"])
