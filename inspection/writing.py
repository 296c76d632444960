"""The model's predictions: at every position, during training, and after one step of gradient descent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
from archbench.architectures.objectives.generate import truncate
from archbench.architectures.objectives.objective import log_softmax, mean_loss
from archbench.inspection import heads
from archbench.inspection.facts import HEADS
from archbench.inspection.subject import InspectedRun, Pair, answer, batch, spelled
from archbench.runs.store import store
from archbench.runs.store.weights import unpacked
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS

TOP = 5
STEP = 0.01  # length of the shown gradient step, in lengths of all weights, at most
RULES = {  # temperature, top_k, top_p; greedy decoding is the likeliest one alone
    "greedy": (1.0, 1, 1.0),
    "temperature 0.7": (0.7, 0, 1.0),
    "top-k 5": (1.0, 5, 1.0),
    "top-p 0.9": (1.0, 0, 0.9),
}


@torch.no_grad()
def probabilities(subject: InspectedRun, pair: Pair) -> Tensor:
    """Log-probabilities (t, v) of the next token at every position of the target, the ones before it given."""
    model, target = subject.run.model, pair[1]
    inputs = model.objective.example_inputs(model, batch([pair]))
    cache = model.prefill(inputs.source if inputs.source.shape[1] else None, None)
    tokens = torch.tensor([[BOS, *target[:-1]]])
    logits, _ = model.decode(tokens, cache)
    return log_softmax(logits[0], subject.run.allowed_tokens)


def mistakes(subject: InspectedRun, pair: Pair) -> int:
    """At how many positions of the target another token is likelier, the ones before it given."""
    guesses = probabilities(subject, pair).argmax(-1).tolist()
    return sum(guess != token for guess, token in zip(guesses, pair[1], strict=True))


def first_mistaken(subject: InspectedRun) -> Pair:
    """The first example in which a guess is wrong; the first of all where none is."""
    return next((pair for pair in subject.examples if mistakes(subject, pair)), subject.examples[0])


def positions(subject: InspectedRun) -> list[dict[str, Any]]:
    """For every position of the shown target: its token, and the likeliest ones under each rule of choosing."""
    chances, tokenizer = probabilities(subject, subject.text), subject.run.tokenizer
    rows = []
    for position, token in enumerate(subject.text[1]):
        scores = chances[position]
        choices = {
            rule: _top(truncate(scores / temperature, top_k, top_p).softmax(-1), tokenizer)
            for rule, (temperature, top_k, top_p) in RULES.items()
        }
        entropy = -(scores.exp() * scores.masked_fill(scores.isinf(), 0.0)).sum()
        rows.append(
            {
                "place": position + 1,
                "token": spelled(tokenizer, token),
                "probability": float(scores[token].exp()),
                "entropy": float(entropy),
                "model": _top(scores.exp(), tokenizer),
                "rules": choices,
            }
        )
    return rows


def snapshots(subject: InspectedRun, folder: Path) -> list[dict[str, Any]]:
    """The model's answer to the shown source at each stored snapshot: the five likeliest first tokens.

    ``watched`` follows those that are likeliest in the end, and the target's first one; ``mean_loss`` is that of the
    first ``HEADS`` test examples. The weights that were scored
    come last. Empty where no snapshots were kept. Raises ``InputError`` for damaged ones.
    """
    model = subject.run.model
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = []
    try:
        for file in sorted((folder / "snapshots").glob("*.safetensors")):
            try:
                model.load_state_dict(unpacked(file.read_bytes(), store.own_name(folder)))
            except Exception as error:
                raise InputError(f"{file}: this snapshot is damaged; delete it, or run its compare again") from error
            rows.append(_answered(subject, f"step {int(file.stem):,}"))
    finally:
        model.load_state_dict(best)
    return _watched(subject, [*rows, _answered(subject, "as scored")]) if rows else []


def _answered(subject: InspectedRun, when: str) -> tuple[dict[str, Any], Tensor]:
    """The row of these weights, and what they give to every token (v,) at the first position."""
    tokenizer = subject.run.tokenizer
    first = probabilities(subject, subject.text)[0].exp()
    written = tokenizer.decode(answer(subject.run, subject.text[0]))
    loss = float(heads.losses(subject, [subject.text])[0])
    mean = float(heads.losses(subject, subject.examples[:HEADS]).mean())
    return {"when": when, "first": _top(first, tokenizer), "answer": written, "loss": loss, "mean_loss": mean}, first


def _watched(subject: InspectedRun, answered: Sequence[tuple[dict[str, Any], Tensor]]) -> list[dict[str, Any]]:
    right, last = subject.text[1][0], answered[-1][1]
    watched = [
        (token, {"token": spelled(subject.run.tokenizer, token), "right": subject.right and token == right})
        for token in dict.fromkeys([*last.topk(min(TOP, len(last))).indices.tolist(), right])
    ]
    return [
        {**row, "watched": [{**facts, "probability": float(first[token])} for token, facts in watched]}
        for row, first in answered
    ]


def gradient_step(subject: InspectedRun) -> dict[str, Any]:
    """One step of plain gradient descent on the shown example: guess, loss, update, and its tokens' probability.

    The step is as long as ``STEP`` of the weights, so that it can be seen; shorter where the slope, if it stayed as it
    is, would take more than half of the loss (half of Polyak's step size). The model is as before afterwards.
    """
    model, tokenizer = subject.run.model, subject.run.tokenizer
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = probabilities(subject, subject.text)
    loss = _trained_loss(subject)
    torch.autograd.backward(loss)
    parameters = [p for p in model.parameters() if p.grad is not None]
    size, slope = _norm([p.detach() for p in parameters]), _norm([p.grad for p in parameters if p.grad is not None])
    slope = max(slope, 1e-12)
    rate = min(STEP * size / slope, loss.item() / 2 / slope**2)
    parts = _parts(model)
    try:
        with torch.no_grad():
            for p in parameters:
                p -= rate * p.grad
        after = probabilities(subject, subject.text)
        with torch.no_grad():
            later = float(_trained_loss(subject))
    finally:
        model.load_state_dict(weights)
        model.zero_grad(set_to_none=True)
    rows = [
        {
            "place": position + 1,
            "token": spelled(tokenizer, token),
            "guess": spelled(tokenizer, int(before[position].argmax())),
            "before": float(before[position][token].exp()),
            "after": float(after[position][token].exp()),
            "guess_after": spelled(tokenizer, int(after[position].argmax())),
        }
        for position, token in enumerate(subject.text[1])
    ]
    facts = {"loss": loss.item(), "loss_after": later, "rate": rate, "gradient": slope, "weights": size}
    return {**facts, "share": rate * slope / size, "parts": parts, "positions": rows}


def _trained_loss(subject: InspectedRun) -> Tensor:
    model = subject.run.model
    generator = torch.Generator().manual_seed(0)
    loss: Tensor = mean_loss(model, batch([subject.text]), subject.run.allowed_tokens, generator, False, 0.0)
    return loss


def _parts(model: nn.Module) -> list[dict[str, Any]]:
    """Weights by what they are for: how many, their length, and that of the gradient in them."""
    kinds: dict[type[nn.Module], str] = {Embedding: "embedding", Attention: "attention"}
    kinds |= {FeedForward: "feed-forward", GatedFeedForward: "feed-forward"}
    owners: dict[int, str] = {}
    for module in model.modules():
        name = next((kinds[kind] for kind in kinds if isinstance(module, kind)), None)
        if name is not None:
            owners |= {id(p): name for p in module.parameters() if id(p) not in owners}
    for module in model.modules():
        if isinstance(module, Head):
            owners |= {id(p): "output" for p in module.parameters() if id(p) not in owners}
    groups: dict[str, list[nn.Parameter]] = {}
    for p in model.parameters():
        groups.setdefault(owners.get(id(p), "norms and others"), []).append(p)
    return [
        {
            "part": name,
            "parameters": sum(p.numel() for p in group),
            "weights": _norm([p.detach() for p in group]),
            "gradient": _norm([p.grad for p in group if p.grad is not None]),
        }
        for name, group in groups.items()
    ]


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(sum(float(tensor.double().pow(2).sum()) for tensor in tensors) ** 0.5)


def _top(probabilities: Tensor, tokenizer: Any) -> list[tuple[str, float]]:
    values, tokens = probabilities.topk(min(TOP, len(probabilities)))
    return [(spelled(tokenizer, int(t)), float(p)) for p, t in zip(values, tokens, strict=True) if p > 0]
