"""Speed of exact likelihoods and of writing, in float32 without gradients, as our scoring has it.

Both sides give the same likelihoods and write the same tokens, or the measure fails.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archbench.architectures.objectives.objective import Batch
from archbench.benchmarks.pairing import DisagreementError, Measurement, speeds
from archbench.benchmarks.setting import BenchSetting
from archbench.benchmarks.work import every_token
from archbench.runs.training.batches import collate, fixed
from archbench.runs.training.train import SCORING_TOKENS
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, MASK, PAD, SPECIALS
from archbench.tasks.base.values import Examples

THEIR_ROWS = 32  # examples a batch, in the order in which they come
PROMPT = 16
BATCHES = (1, 32)  # rows that are written at once
NATS = 1e-3  # how far apart two likelihoods of a target may be

Scores = NDArray[np.float64]


@torch.no_grad()
def scoring(setting: BenchSetting, model: str) -> Measurement:
    """Examples per second of exact log-likelihoods of the task's test targets."""
    ours, theirs = (side.eval() for side in setting.models(model, setting.shape.target_length))
    examples, count = setting.prepared.test, min(setting.shape.examples, len(setting.prepared.test))
    device, vocabulary = setting.where.device, setting.shape.vocabulary
    score = {"ours": lambda: our_scores(ours, examples, count, vocabulary, device)}
    score["theirs"] = lambda: their_scores(model, theirs, examples, count, setting.shape.target_length, device)
    apart = float(np.abs(score["ours"]() - score["theirs"]()).max())
    if not apart <= NATS:
        raise DisagreementError(f"log-likelihoods of the same weights differ by {apart:.2g} nats")

    samples = setting.alternate(
        {"ours": lambda: float(len(score["ours"]())), "theirs": lambda: float(len(score["theirs"]()))}
    )
    return speeds("scoring", model, "examples/s", samples, examples=count, largest_difference_nats=apart)


@torch.no_grad()
def our_scores(model: Any, examples: Examples, count: int, vocabulary: int, device: str) -> Scores:
    """Log-likelihoods (count,) in nats as our scoring loop finds them: similar lengths together."""
    scores, allowed_tokens = np.zeros(count), every_token(vocabulary, device)
    for index, batch in fixed(examples, np.arange(count), SCORING_TOKENS[device]):
        scores[index] = model.objective.log_likelihood(model, batch.to(device), allowed_tokens)[0].cpu().numpy()
    return scores


@torch.no_grad()
def their_scores(model: str, theirs: Any, examples: Examples, count: int, canvas: int, device: str) -> Scores:
    """Log-likelihoods (count,) in nats the straightforward way: padded batches in the given order."""
    score = {"bert": _masked_scores, "t5": _translated_scores}.get(model, _causal_scores)
    scores = []
    for start in range(0, count, THEIR_ROWS):
        batch = collate(examples, np.arange(start, min(start + THEIR_ROWS, count))).to(device)
        scores.append(score(theirs, batch, canvas).double().cpu().numpy())
    return np.concatenate(scores)


def _causal_scores(theirs: Any, batch: Batch, canvas: int) -> Tensor:
    read, present, begin = _joined(batch, batch.target)
    logits = theirs(input_ids=read, attention_mask=present).logits
    positions = begin[:, None] + torch.arange(batch.target.shape[1], device=read.device)
    logits = logits.gather(1, (positions - 1)[..., None].expand(-1, -1, logits.shape[-1]))
    return _gathered(logits, batch)


def _translated_scores(theirs: Any, batch: Batch, canvas: int) -> Tensor:
    read = torch.cat([torch.full_like(batch.target[:, :1], BOS), batch.target[:, :-1]], 1)
    logits = theirs(input_ids=batch.source, attention_mask=batch.source_mask, decoder_input_ids=read).logits
    return _gathered(logits, batch)


def _masked_scores(theirs: Any, batch: Batch, canvas: int) -> Tensor:
    """The chain rule: a forward pass for every cell, from left to right, what comes later hidden."""
    rows, width = batch.target.shape
    total = torch.zeros(rows, device=batch.target.device)
    for cell in range(width):
        cells = torch.full((rows, canvas), MASK, device=total.device)
        cells[:, :cell] = batch.target[:, :cell]
        read, present, begin = _joined(batch, cells)
        logits = theirs(input_ids=read, attention_mask=present).logits[
            torch.arange(rows, device=total.device), begin + cell
        ]
        scores = logits.log_softmax(-1).gather(-1, batch.target[:, cell, None]).squeeze(-1)
        total += scores if batch.target_mask is None else scores * batch.target_mask[:, cell]
    return total


def _joined(batch: Batch, behind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each source, BOS and ``behind`` (b, n) without a gap; who is there; where ``behind`` begins (b,)."""
    rows, device = len(behind), behind.device
    sources = torch.as_tensor(batch.source_lengths, device=device)
    read = torch.full((rows, batch.source.shape[1] + 1 + behind.shape[1]), PAD, device=device)
    read[:, : batch.source.shape[1]] = batch.source
    positions = sources[:, None] + torch.arange(1 + behind.shape[1], device=device)
    read.scatter_(1, positions, torch.cat([torch.full_like(behind[:, :1], BOS), behind], 1))
    present = torch.arange(read.shape[1], device=device) < (sources + 1 + behind.shape[1])[:, None]
    return read, present.long(), sources + 1


def _gathered(logits: Tensor, batch: Batch) -> Tensor:
    scores = logits.float().log_softmax(-1).gather(-1, batch.target[..., None]).squeeze(-1)
    return scores.sum(1) if batch.target_mask is None else (scores * batch.target_mask).sum(1)


def generation(setting: BenchSetting, model: str, rows: int) -> Measurement:
    """Tokens per second of greedy writing with a cache, ``rows`` at once, so many tokens whatever they are."""
    ours, theirs = (side.eval() for side in setting.models(model, 1))
    shape, device = setting.shape, setting.where.device
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(len(SPECIALS), shape.vocabulary, (rows, PROMPT), generator=generator).to(device)
    write = {"ours": lambda: our_words(ours, prompts, shape.new_tokens)}
    write["theirs"] = lambda: their_words(model, theirs, prompts, shape.new_tokens)
    mine, other = write["ours"](), write["theirs"]()
    if not torch.equal(mine, other):
        first = int((mine != other).any(0).nonzero()[0])
        raise DisagreementError(f"the tokens that are written differ from token {first} on")
    samples = setting.alternate(
        {"ours": lambda: float(write["ours"]().numel()), "theirs": lambda: float(write["theirs"]().numel())}
    )
    facts = {"rows": rows, "prompt": PROMPT, "new_tokens": shape.new_tokens, "same_tokens": True}
    return speeds(f"generation-{rows}", model, "tokens/s", samples, **facts)


@torch.no_grad()
def our_words(model: Any, prompts: Tensor, count: int) -> Tensor:
    """Exactly ``count`` tokens for every prompt (b, s), END never -> (b, count)."""
    allowed_tokens = every_token(len(model.embedding.weight), prompts.device)
    allowed_tokens[END] = False
    return torch.stack(model.objective.generate(model, prompts, None, allowed_tokens, Decoding(max_tokens=count)))


@torch.no_grad()
def their_words(model: str, theirs: Any, prompts: Tensor, count: int) -> Tensor:
    """Exactly ``count`` tokens for every prompt (b, s), END never -> (b, count); BOS begins what is written."""
    if model == "t5":
        begin = 1
    else:
        prompts = torch.cat([prompts, torch.full_like(prompts[:, :1], BOS)], 1)
        begin = prompts.shape[1]
    written: Tensor = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        min_new_tokens=count,
        max_new_tokens=count,
        do_sample=False,
    )
    return written[:, begin:].cpu()  # as ours are
