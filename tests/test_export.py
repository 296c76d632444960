"""An exported run is the run: the same ids, logits and answers by ``transformers``, and a card that says what it is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import exported
import pytest
import torch
from tiny_runs import trained, write_data

from archbench import command_line
from archbench.runs.export import export
from archbench.runs.export.usage import AUTO
from archbench.runs.scoring import finished, predict
from archbench.runs.scoring.finished import FinishedRun
from archbench.runs.store import store
from archbench.tasks.base import sealed
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, MASK
from archbench.tasks.data.sources import UNKNOWN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def job_for(run: FinishedRun, place: Path, texts: list[str], usage: str) -> dict[str, Any]:
    """What to compute of an exported run."""
    target = [*run.allowed_tokens.nonzero().squeeze(1)[:3].tolist()][: run.plan.limits.target_length]
    if run.model.family == "encoder":
        target = [MASK] * run.model.canvas
    elif run.model.family == "encoder-decoder":
        target = [BOS, *target]
    return {"folder": ".", "auto": AUTO[run.model.family], "texts": texts, "target": target, "usage": usage}


@torch.no_grad()
def computed(run: FinishedRun, texts: list[str], target: list[int]) -> dict[str, list[Any]]:
    """The same by our own model, for a task with sources."""
    outputs: dict[str, list[Any]] = {"ids": [], "logits": [], "written": []}
    length, family = run.plan.limits.source_length, run.model.family
    for text in texts:
        tokens = run.tokenizer.encode(text)
        tokens = tokens[-length:] if run.kind == "generation" else tokens[:length]
        outputs["ids"].append(tokens if family == "encoder-decoder" else [*tokens, BOS])
        source, after = torch.tensor([tokens]), torch.tensor([target])
        if family == "encoder":
            logits = run.model(torch.tensor([[*tokens, BOS]]), after)
        elif family == "encoder-decoder":
            logits = run.model(source, after)
        else:
            logits = run.model(source, torch.cat([torch.tensor([[BOS]]), after], 1))[:, 1:]
        outputs["logits"].append(logits[0])
        decoding = Decoding(run.decoding["max_tokens"])
        (ids,) = run.model.objective.generate(run.model, source, None, run.allowed_tokens, decoding)
        outputs["written"].append([*ids.tolist(), END][: decoding.max_tokens])
    return outputs


def compared(place: Path, run: FinishedRun, job: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Ids, logits, greedy tokens and, where answers are greedy, the answers of the card's code are ours."""
    texts = job["texts"]
    ours = computed(run, texts, job["target"])
    assert theirs["ids"] == ours["ids"]
    for our_logits, other in zip(ours["logits"], theirs["logits"], strict=True):
        torch.testing.assert_close(torch.tensor(other), our_logits, atol=1e-4, rtol=0)
    assert theirs["written"] in ([], ours["written"])
    assert len(theirs["answers"]) == len(texts)
    if run.kind != "generation":
        assert theirs["answers"] == [predict.predict(place, text).text for text in texts]


def sources(place: Path) -> list[str]:
    import pandas as pd

    return [*pd.read_parquet(place / "predictions.parquet")["source"], "blue <end> red <mask> 7 " * 5]


@pytest.mark.parametrize(
    ("architecture", "task", "name"),
    [
        ("gpt2", "turned", "GPT2LMHeadModel"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("gpt2", "colours", "GPT2LMHeadModel"),
                ("gpt2", "running", "GPT2LMHeadModel"),
                ("llama", "turned", "LlamaForCausalLM"),
                ("bert", "colours", "BertForMaskedLM"),
                ("bert", "turned", "BertForMaskedLM"),
                ("bert", "running", "BertForMaskedLM"),
                ("modernbert", "turned", "ModernBertForMaskedLM"),
                ("t5", "colours", "T5ForConditionalGeneration"),
                ("t5", "turned", "T5ForConditionalGeneration"),
                ("t5-gated", "turned", "T5ForConditionalGeneration"),
                ("transformers:gpt2", "turned", "GPT2LMHeadModel"),
                ("transformers:bert", "turned", "BertForMaskedLM"),
                ("transformers:t5", "turned", "T5ForConditionalGeneration"),
            ]
        ),
    ],
)
def test_one_of_the_shapes_of_transformers_needs_nothing_of_ours(
    folder: Path, tmp_path: Path, architecture: str, task: str, name: str
) -> None:
    place = trained(folder, tmp_path, architecture, task)
    run, result = finished.read(place), export.export(place, tmp_path / "out")
    job = job_for(run, place, sources(place), result.usage)
    (tmp_path / "job.json").write_text(json.dumps(job))
    ran = subprocess.run(
        [sys.executable, "-P", exported.__file__, str(tmp_path / "job.json")],
        cwd=tmp_path / "out",
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    theirs = json.loads(ran.stdout)
    assert result.model == theirs["class"] == name and not theirs["archbench"]
    compared(place, run, job, theirs)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("decoder", "colours"),
        ("prefix-decoder", "running"),
        ("encoder", "turned"),
        ("encoder-decoder", "turned"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("decoder", "turned"),
                ("prefix-decoder", "turned"),
                ("encoder", "colours"),
                ("encoder", "running"),
                ("encoder-decoder", "running"),
                ("shared-encoder-decoder", "turned"),
            ]
        ),
    ],
)
def test_any_other_model_loads_through_the_adapter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, task: str
) -> None:
    place = trained(folder, tmp_path, architecture, task)
    run, result = finished.read(place), export.export(place, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    job = job_for(run, place, sources(place), result.usage)
    theirs = exported.computed(**job)
    assert result.model == theirs["class"] and result.model.startswith("Archbench")
    compared(place, run, job, theirs)


@pytest.mark.parametrize(
    "architecture",
    ["decoder", *(pytest.param(name, marks=pytest.mark.slow) for name in ("encoder", "encoder-decoder", "gpt2", "t5"))],
)
def test_a_model_of_whole_windows_goes_on_with_a_text(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    import transformers

    place = trained(folder, tmp_path, architecture, "windows")
    run, result = finished.read(place), export.export(place, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    family, text = run.model.family, "blue car 1"
    tokenizer = transformers.AutoTokenizer.from_pretrained(".")
    assert tokenizer.model_max_length >= run.plan.limits.target_length  # transformers warns of longer texts
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == [BOS, *run.tokenizer.encode(text)]
    theirs = getattr(transformers, AUTO[family]).from_pretrained(".")
    decoder_inputs = (
        {"input_ids": torch.tensor([[BOS]]), "decoder_input_ids": ids} if family == "encoder-decoder" else {}
    )
    greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    (written,) = theirs.generate(**(decoder_inputs or {"input_ids": ids}), **greedy)[:, ids.shape[1] :].tolist()
    empty = torch.zeros(1, 0, dtype=torch.long)
    decoding = Decoding(run.plan.limits.target_length - len(text))
    (ours,) = run.model.objective.generate(run.model, empty, None, run.allowed_tokens, decoding, start=ids[:, 1:])
    assert written == ours.tolist() and len(written) == 10
    exported.printed(result.usage)


@pytest.mark.parametrize("task", ["colours", "turned", "running", "windows"])
@pytest.mark.parametrize("architecture", ["gpt2", "bert", "t5"])
def test_scores_are_those_of_the_run(architecture: str, task: str, folder: Path, tmp_path: Path) -> None:
    """Exported and scored as a checkpoint, a run gets its own scores again: the two ways meet."""
    run = trained(folder, tmp_path, architecture, task)
    export.export(run, tmp_path / "exported")
    again = trained(folder, tmp_path / "again", str(tmp_path / "exported"), task)
    before, after = (
        {row["metric"]: row["value"] for row in sealed.read_json(place / "scores.json") if row["split"] == "test"}
        for place in (run, again)
    )
    assert after["nll_per_token"] == pytest.approx(before["nll_per_token"], abs=1e-4)
    sampled = {"repetition", "distinct_2", "copied", "rouge_l", "sample_bits_per_byte"}
    random_metrics = sampled if task == "running" else set()
    bounds = {metric for metric in before if metric.endswith("_bound")}  # of other random masks
    if task == "turned":  # its words do not tell the text's bytes once they are a checkpoint's tokens
        assert before.keys() - after.keys() <= {"bits_per_byte", "bits_per_byte_bound", "bits_per_byte_shuffled"}
        random_metrics |= before.keys() - after.keys()
    for metric in before.keys() - random_metrics - bounds:
        assert after[metric] == pytest.approx(before[metric], rel=1e-4), metric


def test_the_command_writes_a_card_and_refuses_what_cannot_be(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, target = trained(folder, tmp_path, "encoder-decoder", "colours"), tmp_path / "new" / "out"
    assert status("export", str(place), str(target)) == 0
    written = capsys.readouterr().out
    assert f"{target}: ArchbenchForSeq2SeqLM (README.md, config.json," in written
    readme, scores = (target / "README.md").read_text(), sealed.read_json(place / "scores.json")
    (code,) = re.findall("```python\n(.*?)```", readme, re.DOTALL)
    assert code in written and len({path.stat().st_mode for path in target.iterdir()}) == 1
    monkeypatch.chdir(target)
    assert exported.printed(code) in ("redish", "blueish")
    record = store.read_record(place) or {}
    expected = [f"{record['train_tokens']:,}", f"{record['train_flops']:.3g}", "| seed | 0 |", "things.tsv", UNKNOWN]
    expected += [
        f"| {row['metric']} | {row['value']:.4g} | " + f"{row['lower']:.4g}" * (row["lower"] < row["upper"])
        for row in scores
        if row["split"] == "test"
    ]
    assert [words for words in expected if words not in readme] == []

    capsys.readouterr()
    (tmp_path / "file").write_text("x")
    for wrong, message in [(target, "not empty; give a new one"), (tmp_path / "file", "is a file; give a new folder")]:
        assert status("export", str(place), str(wrong)) == 2
        assert message in one_line(capsys)
    store.write_record(place, {**record, "status": "diverged", "error": "loss is nan"})
    assert status("export", str(place), str(tmp_path / "b")) == 2 and "diverged" in one_line(capsys)
    assert status("export", "nothing-of-this-name", str(tmp_path / "b")) == 2 and "no run" in one_line(capsys)
    assert sorted(path.name for path in target.parent.iterdir()) == ["out"] and not (tmp_path / "b").exists()


def status(*arguments: str) -> object:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    return stopped.value.code


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output, errors = capsys.readouterr()
    (line,) = errors.splitlines()
    assert not output
    return line
