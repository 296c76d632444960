"""A text is answered as the run was scored, or by the beams or the sampling that are asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import trained, write_data

from archbench import command_line
from archbench.runs.scoring import finished
from archbench.runs.scoring.predict import Choice, predict
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError

TEXT = "red house 3"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    folder, folders = write_data(tmp_path_factory.mktemp("data")), dict[tuple[str, str], Path]()

    def place(architecture: str, task: str) -> Path:
        if (architecture, task) not in folders:
            folders[architecture, task] = trained(folder, tmp_path_factory.mktemp("run"), architecture, task)
        return folders[architecture, task]

    return place


@pytest.mark.parametrize("architecture", ["decoder", "encoder", "encoder-decoder"])
def test_beams_and_sampling_are_those_of_the_model(run: Callable[[str, str], Path], architecture: str) -> None:
    place = run(architecture, "turned")
    finished_run = finished.read(place)
    source = torch.tensor([finished_run.tokenizer.encode(TEXT)])
    plain = Decoding(**finished_run.decoding)

    def written(decoding: Decoding, seed: int = 0) -> str:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            tokens = finished_run.model.objective.generate(
                finished_run.model, source, None, finished_run.allowed_tokens, decoding, generator
            )
        return finished_run.tokenizer.decode(tokens[0].tolist())

    greedy = predict(place, TEXT).text
    assert predict(place, TEXT, Choice()).text == greedy == written(plain)
    assert predict(place, TEXT, Choice(beams=3)).text == written(replace(plain, strategy="beam", beams=3))
    hot = replace(plain, strategy="sample", temperature=3.0, top_k=9)
    texts = [predict(place, TEXT, Choice(temperature=3.0, top_k=9, seed=seed)).text for seed in range(4)]
    assert texts == [written(hot, seed) for seed in range(4)] and len(set(texts)) > 1
    assert predict(place, TEXT, Choice(temperature=1.0, top_k=1)).text == greedy
    assert predict(place, TEXT, Choice(temperature=2.0, top_p=1e-6)).text == greedy
    every, more = (predict(place, TEXT, Choice(temperature=2.0, top_k=top_k)).text for top_k in (None, 2**64))
    assert every == more


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(top_k=5), "--top-k: add --temperature"),
        (Choice(seed=1), "--seed: add --temperature"),
        (Choice(beams=2, temperature=1.0), "--temperature: beam search does not sample"),
        (Choice(temperature=0.0), "--temperature: 0: expected 0.01 or more"),
        (Choice(temperature=1e-39), "expected 0.01 or more"),
        (Choice(temperature=1.0, top_p=0.0), "--top-p: 0: expected a number above 0"),
        (Choice(temperature=float("nan")), "--temperature: nan: expected 0.01 or more"),
    ],
)
def test_a_choice_without_sense_is_told(run: Callable[[str, str], Path], choice: Choice, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(run("decoder", "turned"), TEXT, choice)


def test_a_label_is_not_drawn(run: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    place = run("decoder", "colours")
    assert command_line._status(["predict", str(place), TEXT, "--beams", "2"]) == 2
    assert "this run classifies" in capsys.readouterr().err
    assert command_line._status(["predict", str(place), TEXT]) == 0


def test_the_command_passes_on_what_was_chosen(
    run: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = run("decoder", "running")
    options = ["--temperature", "2", "--top-k", "7", "--top-p", "0.9", "--seed", "3"]
    assert command_line._status(["predict", str(place), TEXT, *options]) == 0
    output = capsys.readouterr().out.rstrip("\n")
    assert output == predict(place, TEXT, Choice(None, 2.0, 7, 0.9, 3)).text.rstrip("\n")


@pytest.mark.parametrize("flag", ["--seed", "--beams"])
def test_a_number_that_no_machine_takes_is_told(
    run: Callable[[str, str], Path], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line._status(["predict", str(run("decoder", "turned")), TEXT, flag, str(2**64)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_samples_already_takes_a_seed_alone(run: Callable[[str, str], Path]) -> None:
    place = run("decoder", "running")
    assert finished.read(place).decoding["strategy"] == "sample"
    texts = [predict(place, TEXT, Choice(seed=seed)).text for seed in range(4)]
    assert len(set(texts)) > 1 and texts[0] == predict(place, TEXT).text
