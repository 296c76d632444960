"""Writing a target: left to right (greedy, sampled, beam) in every family, or confident cells first (encoders).

Only tokens in ``allowed_tokens`` (v,) are written. Ties go to the token with the lowest id.
"""

from typing import Any

import torch
from torch import Tensor

from archbench.architectures.kernels.weight_prepack import prepacked_weights
from archbench.architectures.objectives.objective import cell_tokens, predicts_length
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, MASK

KEPT = 0.75  # of the rows of a cache: with fewer left unfinished, the others are dropped
LOOKS = {"cuda": 8}  # steps between two looks at which rows are finished: a look waits for the device


@prepacked_weights()
def decode_left_to_right(
    model: Any,
    source: Tensor,
    source_mask: Tensor | None,
    allowed_tokens: Tensor,
    decoding: Decoding,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
) -> list[Tensor]:
    """Write a target for every row of ``source`` (b, s) -> token ids of each in the host's memory, END left out.

    ``start`` (b, m) are tokens that the targets begin with; they are not part of what is returned.
    """
    cache, rows = model.prefill(source, source_mask), len(source)
    tokens = torch.full((rows, 1), BOS, device=source.device)
    if start is not None:
        tokens = torch.cat([tokens, start], 1)
    if decoding.strategy == "beam":
        return _beam(model, cache, tokens, allowed_tokens, decoding)
    active = torch.arange(rows, device=source.device)  # which row of the source each row of the cache is
    going = torch.ones_like(active, dtype=torch.bool)
    written = torch.full((rows, decoding.max_tokens), END, device=source.device)
    for step in range(decoding.max_tokens):
        logits, cache = model.decode(tokens, cache)
        choice = _choose(_allowed(logits[:, -1], allowed_tokens), decoding, generator)
        choice = torch.where(going, choice, END)
        written[active, step] = choice
        going = choice != END
        tokens = choice[:, None]
        if (step + 1) % LOOKS.get(source.device.type, 1):
            continue
        count = int(going.sum())
        if not count:
            break
        if count <= KEPT * len(active):
            cache = cache.rows(going.nonzero().squeeze(1))
            active, choice = active[going], choice[going]
            going, tokens = torch.ones_like(active, dtype=torch.bool), choice[:, None]
    return [_before_end(row) for row in written.cpu()]


def decode_iteratively(
    model: Any, source: Tensor, source_mask: Tensor | None, allowed_tokens: Tensor, decoding: Decoding
) -> list[Tensor]:
    """Fill the canvas in ``rounds``, the most confident cells first (Mask-Predict 1904.09324, MaskGIT 2202.04200).

    What stands before the first END is the answer; where lengths are predicted, END stands behind the last cell.
    """
    lengths = model.prefill(source, source_mask).lengths if predicts_length(model) else None
    width = model.canvas if lengths is None else int(lengths.max())
    canvas = torch.full((len(source), width), MASK, device=source.device)
    cells = None
    if lengths is not None:
        allowed_tokens = cell_tokens(allowed_tokens, lengths)
        cells = torch.arange(width, device=source.device) < lengths[:, None]
        canvas = canvas.masked_fill(~cells, END)
    for left in range(decoding.rounds, 0, -1):
        open_cells = canvas == MASK
        if not open_cells.any():
            break
        confidence, choice = _allowed(model(source, canvas, source_mask, cells), allowed_tokens).softmax(-1).max(-1)
        count = -(-open_cells.sum(1, keepdim=True) // left)
        rank = confidence.masked_fill(~open_cells, -1.0).argsort(dim=1, descending=True, stable=True).argsort(1)
        canvas = torch.where(open_cells & (rank < count), choice, canvas)
    return [_before_end(row[: decoding.max_tokens]) for row in canvas.cpu()]


def _beam(model: Any, cache: Any, tokens: Tensor, allowed_tokens: Tensor, decoding: Decoding) -> list[Tensor]:
    """Beam search from tokens (b, m); finished hypotheses compete on length-normalised scores with those still open."""
    device, beams, rows = allowed_tokens.device, decoding.beams, len(tokens)
    cache = cache.rows(torch.arange(rows, device=device).repeat_interleave(beams)) if _filled(cache, rows) else cache
    tokens = tokens.repeat_interleave(beams, 0)
    scores = torch.full((rows, beams), float("-inf"), device=device)
    scores[:, 0] = 0.0
    written = torch.empty(rows, beams, 0, dtype=torch.long, device=device)
    done: list[tuple[float, Tensor]] = [(float("-inf"), written[0, 0])] * rows
    for step in range(1, decoding.max_tokens + 1):
        logits, cache = model.decode(tokens, cache)
        steps = _allowed(logits[:, -1], allowed_tokens).log_softmax(-1).view(rows, beams, -1)
        _finish(done, scores + steps[..., END], written, step**decoding.length_penalty)
        steps[..., END] = float("-inf")
        scores, flat = (scores[..., None] + steps).flatten(1).topk(beams, dim=1)
        parent, token = flat // steps.shape[-1], flat % steps.shape[-1]
        written = torch.cat([written.gather(1, parent[..., None].expand(-1, -1, step - 1)), token[..., None]], -1)
        opened = scores[:, 0].tolist()
        if all(_settled(best, score, decoding) for (best, _), score in zip(done, opened, strict=True)):
            break
        cache = cache.rows((parent + torch.arange(rows, device=device)[:, None] * beams).flatten())
        tokens = token.flatten()[:, None]
    _finish(done, scores, written, max(written.shape[-1], 1) ** decoding.length_penalty)
    return [tokens.cpu() for _, tokens in done]


def _finish(done: list[tuple[float, Tensor]], scores: Tensor, written: Tensor, penalty: float) -> None:
    """Keep the best finished hypothesis of each row; ``scores`` (rows, beams) are those of ending now."""
    best, beam = (scores / penalty).max(1)
    for row, (score, which) in enumerate(zip(best.tolist(), beam.tolist(), strict=True)):
        if score > done[row][0]:
            done[row] = (score, written[row, which])


def _settled(finished: float, best_open: float, decoding: Decoding) -> bool:
    """True if no open hypothesis can still win: scores only fall, and the longest has the largest divisor."""
    bound: float = best_open / decoding.max_tokens**decoding.length_penalty
    return finished >= bound


def _filled(cache: Any, rows: int) -> bool:
    """True if the cache has one entry per row (an empty source leaves nothing to repeat)."""
    memory = getattr(cache, "memory", None)
    return memory is None or memory.count == rows


def _allowed(logits: Tensor, allowed_tokens: Tensor) -> Tensor:
    """Logits (..., v) in float32, minus infinity for tokens that are not allowed."""
    return logits.float().masked_fill(~allowed_tokens, float("-inf"))


def _choose(logits: Tensor, decoding: Decoding, generator: torch.Generator | None) -> Tensor:
    """One token (b,) from logits (b, v)."""
    if decoding.strategy == "greedy":
        if logits.device.type == "cpu":  # NumPy is several times faster there
            return torch.from_numpy(logits.detach().numpy().argmax(-1))
        return logits.argmax(-1)
    device, logits = logits.device, logits.cpu()  # cumulative sums repeat bit for bit there
    probabilities = truncate(logits / decoding.temperature, decoding.top_k, decoding.top_p).softmax(-1)
    cumulative = probabilities.double().cumsum(-1)
    draw = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64)
    choice = torch.searchsorted(cumulative, draw * cumulative[:, -1:], right=True).squeeze(-1)
    return choice.clamp(max=logits.shape[-1] - 1).to(device)


def truncate(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Keep the ``top_k`` largest logits (1805.04833) and the smallest set with mass ``top_p`` (1904.09751)."""
    if top_k:
        floor = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < floor, float("-inf"))
    if top_p < 1.0:
        ordered, order = logits.sort(-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        cut = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(cut, float("-inf"))
    return logits


def _before_end(tokens: Tensor) -> Tensor:
    ends = (tokens == END).nonzero()
    return tokens[: int(ends[0])] if len(ends) else tokens
