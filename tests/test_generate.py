"""Writing: strategies choose what they say they choose."""

import itertools

import pytest
import torch

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.objectives import generate
from archbench.architectures.objectives.generate import truncate
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import END, MASK

VOCABULARY = contract.LIMITS.vocabulary
WORDS = [5, 6, 7]
SOURCE = contract.sequences(3, 4)


def allowed(*tokens: int) -> torch.Tensor:
    mask = torch.zeros(VOCABULARY, dtype=torch.bool)
    mask[list(tokens)] = True
    return mask


def write(
    name: str, decoding: Decoding, allowed_tokens: torch.Tensor, seed: int = 0, start: torch.Tensor | None = None
):
    model = contract.subject(catalogue.find(name).build).model
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        generated = model.objective.generate(model, SOURCE, None, allowed_tokens, decoding, generator, start)
    return [row.tolist() for row in generated], model


def likelihood(model, row: int, target: list[int], allowed_tokens: torch.Tensor) -> float:
    with torch.no_grad():
        pairs = Batch(SOURCE[row : row + 1], torch.tensor([target]))
        return model.objective.log_likelihood(model, pairs, allowed_tokens)[0].item()


@pytest.mark.parametrize("name", catalogue.names())
def test_a_wide_beam_without_length_penalty_finds_the_likeliest_target(name: str) -> None:
    allowed_tokens, most = allowed(END, *WORDS), 3
    decoding = Decoding(max_tokens=most, strategy="beam", beams=30, length_penalty=0.0)
    written, model = write(name, decoding, allowed_tokens)
    for row in range(len(SOURCE)):
        targets = [[*words, END] for n in range(most) for words in itertools.product(WORDS, repeat=n)]
        targets += [list(words) for words in itertools.product(WORDS, repeat=most)]
        best = max(targets, key=lambda target: likelihood(model, row, target, allowed_tokens))
        assert written[row] == [token for token in best if token != END]


@pytest.mark.parametrize("name", catalogue.names())
def test_one_beam_is_greedy(name: str) -> None:
    allowed_tokens = allowed(END, *WORDS)
    greedy, _ = write(name, Decoding(max_tokens=5), allowed_tokens)
    beam, _ = write(name, Decoding(max_tokens=5, strategy="beam", beams=1, length_penalty=0.0), allowed_tokens)
    top, _ = write(name, Decoding(max_tokens=5, strategy="sample", top_k=1), allowed_tokens)
    assert greedy == top
    assert all(b[: len(g)] == g or g[: len(b)] == b for g, b in zip(greedy, beam, strict=True))


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder"])
@pytest.mark.parametrize("every", [2, 3, 8])
def test_looking_seldom_at_which_rows_are_finished_changes_nothing(
    name: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed_tokens, decoding = allowed(END, *WORDS), Decoding(max_tokens=contract.LIMITS.target_length)
    expected, _ = write(name, decoding, allowed_tokens)
    monkeypatch.setattr(generate, "LOOKS", {"cpu": every})
    assert write(name, decoding, allowed_tokens)[0] == expected


def test_samples_follow_the_model() -> None:
    allowed_tokens = allowed(*WORDS)
    model = contract.subject(catalogue.find("decoder").build).model
    many, decoding = SOURCE[:1].expand(6000, -1), Decoding(max_tokens=1, strategy="sample")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        samples = torch.cat(model.objective.generate(model, many, None, allowed_tokens, decoding, generator))
    for word in WORDS:
        expected = torch.tensor(likelihood(model, 0, [word], allowed_tokens)).exp().item()
        assert (samples == word).float().mean().item() == pytest.approx(expected, abs=0.03)


def test_truncation_keeps_the_likeliest() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    assert truncate(logits, top_k=2).isfinite().tolist() == [[True, True, False, False]]
    assert truncate(logits, top_p=0.8).isfinite().tolist() == [[True, True, False, False]]
    assert truncate(logits, top_p=0.81).isfinite().tolist() == [[True, True, True, False]]
    assert truncate(logits, top_p=0.01).isfinite().tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("name", catalogue.names())
def test_a_start_is_continued_like_any_target(name: str) -> None:
    allowed_tokens = allowed(*WORDS)
    whole, _ = write(name, Decoding(max_tokens=5), allowed_tokens)
    rest, _ = write(name, Decoding(max_tokens=3), allowed_tokens, start=torch.tensor(whole)[:, :2])
    assert rest == [row[2:] for row in whole]


def test_confident_cells_come_first_and_one_round_is_all_at_once() -> None:
    allowed_tokens = allowed(*WORDS)
    written, model = write("encoder", Decoding(max_tokens=6, strategy="confident", rounds=1), allowed_tokens)
    from archbench.architectures.objectives.masked import _ended

    source, _ = _ended(SOURCE, None)
    with torch.no_grad():
        blank = torch.full((3, model.canvas), MASK)
        logits = model(source, blank).masked_fill(~allowed_tokens, float("-inf"))
    assert written == logits.argmax(-1).tolist()
    many, _ = write("encoder", Decoding(max_tokens=6, strategy="confident", rounds=6), allowed_tokens)
    assert all(len(row) == 6 for row in many)
