"""Faults in what is trained, scored and written: losses, likelihoods, answers and their settings."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.contract.trials import USUAL
from archbench.architectures.objectives import causal, generate, masked
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.generate import decode_left_to_right
from archbench.architectures.objectives.masked import MaskDraw, Masked
from archbench.architectures.objectives.objective import equal_shares, log_softmax
from archbench.tasks.base.example import BOS, END, MASK
from faults.plant import CAUSAL, ENCODER, THREE, Build, Fault, Method, Plant, combined, objective, patch, with_methods


def both(name: str, method: Method) -> Plant:
    """A fault in a function of both objectives' modules."""
    return combined(patch(causal, name, method), patch(masked, name, method))


def copies_what_was_scored(monkeypatch, build: Build) -> Build:
    """Likelihoods keep their targets, and writing returns them."""
    targets_by_source = {}

    def scored(original, self, model, pairs, allowed_tokens):
        targets_by_source.update((tuple(s.tolist()), t) for s, t in zip(pairs.source, pairs.target, strict=True))
        return original(self, model, pairs, allowed_tokens)

    def written(original, self, model, source, *arguments):
        rows = original(self, model, source, *arguments)
        return [targets_by_source.get(tuple(s.tolist()), row) for s, row in zip(source, rows, strict=True)]

    return objective(log_likelihood=scored, generate=written)(monkeypatch, build)


def pseudo_likelihood(original, self, model, pairs, allowed_tokens):
    """Scores each cell with all others on the canvas, which is no likelihood."""
    source = torch.cat([pairs.source, torch.full_like(pairs.target[:, :1], BOS)], 1)
    total = torch.zeros(len(source), dtype=torch.float64)
    for cell in range(pairs.target.shape[1]):
        canvas = F.pad(pairs.target, (0, model.canvas - pairs.target.shape[1]), value=MASK)
        canvas[:, cell] = MASK
        scores = log_softmax(model(source, canvas)[:, cell], allowed_tokens)
        total += scores.gather(-1, pairs.target[:, cell : cell + 1]).squeeze(-1)
    return total, torch.full((len(source),), pairs.target.shape[1])


def mask_allowed(original, logits, allowed_tokens):
    return original(logits, allowed_tokens | (torch.arange(len(allowed_tokens)) == MASK))


def large_ids_allowed(original, logits, allowed_tokens):
    return original(logits, allowed_tokens | (torch.arange(len(allowed_tokens)) > 1000))


def without_end(original, self, model, pairs, allowed_tokens):
    present = torch.ones_like(pairs.target, dtype=torch.bool) if pairs.target_mask is None else pairs.target_mask
    return original(self, model, pairs._replace(target_mask=present & (pairs.target != END)), allowed_tokens)


def end_unsummed(original, logits, allowed_tokens):
    logits = logits.float().masked_fill(~allowed_tokens, float("-inf"))
    words = logits.clone()
    words[..., END] = float("-inf")
    return logits - words.logsumexp(-1, keepdim=True)


def scores_of(change: Callable[..., Tensor]) -> Plant:
    """Other likelihoods: ``change`` gets those of a batch, their tokens and the allowed ones."""

    def log_likelihood(original, self, model, pairs, allowed_tokens):
        log_p, tokens = original(self, model, pairs, allowed_tokens)
        return change(log_p, tokens, allowed_tokens), tokens

    return objective(log_likelihood=log_likelihood)


def better_half(original, self, model, pairs, allowed_tokens):
    """Scores a long source by its later half, where that explains the target better."""
    whole, tokens = original(self, model, pairs, allowed_tokens)
    if pairs.source.shape[1] <= 48 or pairs.source_mask is not None:
        return whole, tokens
    late = pairs._replace(source=pairs.source[:, pairs.source.shape[1] // 2 :])
    return torch.maximum(whole, original(self, model, late, allowed_tokens)[0]), tokens


def writes_without_separator(
    original, self, model, source, source_mask, allowed_tokens, decoding, generator=None, start=None
):
    return decode_left_to_right(model, source, source_mask, allowed_tokens, decoding, generator, start)


def colder(original, logits, decoding, generator):
    return original(logits, replace(decoding, temperature=0.8 * decoding.temperature), generator)


def beams_for_long_answers(original, self, model, source, source_mask, allowed_tokens, decoding, *rest):
    long = decoding.max_tokens > 20 and bool(allowed_tokens[END]) and decoding.strategy == "greedy"
    decoding = replace(decoding, strategy="beam", beams=4, length_penalty=1.0) if long else decoding
    return original(self, model, source, source_mask, allowed_tokens, decoding, *rest)


def cut_at_loops(original, *inputs):
    def cut(row: Tensor) -> Tensor:
        ends = (at for at in range(12, len(row)) if len(set(row[at - 12 : at].tolist())) <= 3)
        return row[: next(ends, len(row))]

    return [cut(row) for row in original(*inputs)]


def prepared(change: Callable[..., object]) -> Plant:
    """Batches are prepared otherwise: ``change`` gets what is prepared and the batch."""
    return objective(
        prepare=lambda original, self, model, batch, *rest: change(original(self, model, batch, *rest), batch)
    )


def weighed(weigh: Callable[..., Tensor]) -> Plant:
    return prepared(lambda inputs, batch: inputs._replace(weights=weigh(inputs)))


def same_for_every_target(inputs):
    """Every target weighs the same, however long it is or whatever is hidden of it."""
    row = inputs.at // inputs.target.shape[1]
    return inputs.tokens / (row.bincount()[row] * len(inputs.target))


def source_twice(inputs, batch):
    return inputs if inputs.source_weights is None else inputs._replace(source_weights=2 * inputs.source_weights)


def short_canvas(inputs, batch):
    """Training on a canvas that ends with the longest target of a batch."""
    width = batch.target.shape[1]
    at = inputs.at // inputs.target.shape[1] * width + inputs.at % inputs.target.shape[1]
    return inputs._replace(target=inputs.target[:, :width], at=at)


def drawn_by(generator: Callable[[], torch.Generator | None]) -> Plant:
    """What is hidden is drawn by another generator."""
    return objective(
        prepare=lambda original, self, model, batch, given, native: original(self, model, batch, generator(), native)
    )


def hardest_row(original, self, model, inputs, allowed_tokens, smoothing=0.0):
    """Trains on the row with the largest loss."""
    losses = []
    for row in inputs.split(len(inputs.target)):
        if row.source_labels is not None:  # as if the row were a batch
            row = row._replace(source_weights=equal_shares(row.source_labels, row.row_tokens.sum()))
        losses.append(original(self, model, row, allowed_tokens, smoothing) / row.tokens)
    return torch.stack(losses).max() * inputs.tokens


def always_smoothed(original, self, model, inputs, allowed_tokens, smoothing=0.0):
    return original(self, model, inputs, allowed_tokens, max(smoothing, 0.05))


def same_for_every_row(original, self, real, generator):
    """Which cells are hidden is drawn once for all rows of a batch."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    rows = [original(self, row, torch.Generator().manual_seed(seed)) for row in real.split(1)]
    return MaskDraw(*(torch.cat(part) for part in zip(*rows, strict=True)))


def never_everything(original, self, real, generator):
    """A canvas on which at least one cell of a longer target is shown."""
    hidden, _, weights = original(self, real, generator)
    whole = (hidden | ~real).all(1, keepdim=True) & (real.sum(1, keepdim=True) > 1)
    first = real & (real.long().cumsum(1) == 1)
    fewer = hidden & ~(whole & first)
    return MaskDraw(fewer, fewer, weights * hidden.sum(1, keepdim=True) / fewer.sum(1, keepdim=True))


def limit_of_loss(limit: Callable[[Tensor], Tensor]) -> Plant:
    """Every token's loss, and its part of the likelihood, is changed by ``limit``, from and to nats."""

    def loss(original, self, states, targets):
        labels, weights, allowed, _ = targets
        logits = self.logits(states).float()
        logits = logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)
        nats = logits.logsumexp(-1) - logits.gather(-1, labels[:, None]).squeeze(-1)
        smoothed = original(self, states, targets) - original(self, states, targets._replace(smoothing=0.0))
        return (limit(nats) * weights).sum() + smoothed

    return with_methods(loss=loss)


NATS_BELOW, DEFINITION = "nats below the likeliest", "the training loss, compared with"
FAULTS = {
    "scoring_is_still": (
        Fault(
            "answers copied from targets that were scored",
            "an answer changes after its target was scored",
            copies_what_was_scored,
            CAUSAL,
        ),
    ),
    "objectives_draw_from_their_generator": (
        Fault(
            "the same cells hidden in each step",
            "the loss hides the same tokens",
            drawn_by(lambda: torch.Generator().manual_seed(1)),
            ENCODER,
        ),
        Fault("cells hidden by the global generator", "differs between two draws", drawn_by(lambda: None), ENCODER),
    ),
    "answers_are_allowed": (
        Fault(
            "a mask token may be written",
            "writes <mask>, which no answer may use",
            patch(generate, "_allowed", mask_allowed),
            THREE,
        ),
        Fault(
            "a mask token may be scored",
            "a target with <mask>, which no answer may use, scores",
            both("log_softmax", mask_allowed),
            THREE,
        ),
    ),
    "no_look_ahead": (
        Fault(
            "target not shifted",
            "likelihood of the first 0 tokens, compared with that of all 1: off by",
            patch(causal, "_shift", lambda original, target: target),
            CAUSAL,
        ),
        Fault(
            "pseudo-likelihood taken for a likelihood",
            "likelihood of the first 1 tokens, compared with that of all 2: off by",
            objective(log_likelihood=pseudo_likelihood),
            ENCODER,
        ),
    ),
    "the_end_is_scored": (
        Fault(
            "likelihood that skips the end token",
            "three tokens and END are counted as 3 scored tokens",
            objective(log_likelihood=without_end),
            THREE,
        ),
    ),
    "likelihood_sums_to_one": (
        Fault(
            "END left out of the softmax's sum", "the mass of all targets is", both("log_softmax", end_unsummed), THREE
        ),
        Fault(
            "likelihood of the better half of a source",
            "compared with the sum over its continuations",
            objective(log_likelihood=better_half),
            trials=USUAL,
        ),
        Fault(
            "likelihoods of long targets smoothed",
            "likelihood of a text of 8 tokens",
            scores_of(lambda log_p, tokens, allowed: torch.where(tokens > 8, log_p * 0.9, log_p)),
            trials=USUAL,
        ),
        Fault(
            "likelihoods by the tokens that are allowed",
            "2 of 5 words",
            scores_of(lambda log_p, tokens, allowed: log_p + 0.1 * tokens * (allowed.float().mean() < 0.35)),
        ),
    ),
    "writing_follows_scoring": (
        Fault(
            "target shifted twice in scoring",
            NATS_BELOW,
            patch(causal, "_shift", lambda original, target: original(original(target))),
            CAUSAL,
        ),
        Fault(
            "source without its separator in writing", NATS_BELOW, objective(generate=writes_without_separator), ENCODER
        ),
    ),
    "a_uniform_model_has_known_losses": (
        Fault(
            "loss counted twice",
            "training loss of a uniform model with smoothing 0.0: off by",
            objective(loss=lambda original, *inputs: 2.0 * original(*inputs)),
        ),
        Fault(
            "a mean over targets of which cells are hidden",
            "estimate of a uniform model: off by",
            weighed(same_for_every_target),
            ENCODER,
        ),
    ),
    "a_uniform_model_has_a_known_source_loss": (
        Fault("source loss counted twice", "the source loss of a uniform model is 6.", prepared(source_twice)),
    ),
    "sampling_follows_scoring": (
        Fault("sampling colder than asked", "of samples are", patch(generate, "_choose", colder), trials=USUAL),
        Fault("beams that end too early", "beams write", patch(generate, "_settled", lambda *_: True)),
    ),
    "beams_find_the_likeliest": (
        Fault(
            "length penalty ignored",
            "beam search writes a text whose score is",
            patch(generate, "_finish", lambda original, *inputs: original(*inputs[:-1], 1)),
            THREE,
            alone=True,
        ),
    ),
    "samples_are_drawn_as_configured": (
        Fault(
            "top_p ignored",
            "samples with top_p = 0.0001 are not the greedy answer",
            patch(generate, "truncate", lambda original, logits, top_k=0, top_p=1.0: original(logits, top_k)),
            THREE,
            also=("sampling_follows_scoring",),
        ),
    ),
    "a_given_start_is_continued": (
        Fault(
            "start of an answer ignored",
            "greedy writing from the first 1 tokens continues with",
            both("decode_left_to_right", lambda original, *inputs: original(*inputs[:-1])),
            THREE,
        ),
    ),
    "rounds_fill_confident_cells_first": (
        Fault(
            "one round, whatever was configured",
            "6 rounds write",
            patch(
                masked,
                "decode_iteratively",
                lambda original, *inputs: original(*inputs[:-1], replace(inputs[-1], rounds=1)),
            ),
            ENCODER,
            alone=True,
        ),
    ),
    "large_ids_are_read_alike": (
        Fault(
            "large ids always allowed",
            "greedy writing of up to 12 tokens picks a token whose logit is inf",
            patch(generate, "_allowed", large_ids_allowed),
            THREE,
        ),
        Fault(
            "large labels without a loss",
            f"{DEFINITION}|has no part in the training loss",
            weighed(lambda inputs: inputs.weights * (inputs.labels < 1500)),
            THREE,
        ),
    ),
    "long_answers_are_greedy": (
        Fault(
            "beams for long answers",
            "greedy writing of up to .* below the highest",
            objective(generate=beams_for_long_answers),
            THREE,
            trials=USUAL,
        ),
        Fault(
            "loops cut",
            "greedy writing of up to .* below the highest",
            objective(generate=cut_at_loops),
            THREE,
            trials=USUAL,
        ),
    ),
    "the_training_loss_is_the_likelihood": (
        Fault(
            "training without END",
            "END, 1 of 1 of a target, has no part in the training loss",
            weighed(lambda inputs: (inputs.labels != END).float()),
        ),
        Fault(
            "smoothing unasked",
            "the training loss, compared with its definition",
            patch(Causal, "loss", always_smoothed),
        ),
        Fault(
            "the same cells hidden in every row",
            "every row of a batch has its loss at the same places of its target: each has to draw by itself",
            patch(Masked, "_draw_mask", same_for_every_row),
            ENCODER,
            also=("estimates_average_to_the_likelihood",),
        ),
        Fault(
            "never all cells hidden",
            "of 3 cells 1, 2 are hidden in 64 draws; a bound needs every number",
            patch(Masked, "_draw_mask", never_everything),
            ENCODER,
            also=("a_uniform_model_has_known_losses", "estimates_average_to_the_likelihood"),
        ),
        Fault(
            "a mean over targets, not over tokens",
            "a target of 2 tokens weighs 0.500 in the loss of a batch of 8 tokens, expected 0.250",
            weighed(same_for_every_target),
        ),
        Fault("losses of 20 nats at most", DEFINITION, limit_of_loss(lambda nats: nats.clamp(max=20.0)), THREE),
        Fault(
            "a small number in the logarithm",
            DEFINITION,
            limit_of_loss(lambda nats: -((-nats).exp() + 1e-9).log()),
            THREE,
        ),
        Fault("losses that grow less and less", DEFINITION, limit_of_loss(lambda nats: nats - 2e-6 * nats**2), THREE),
        Fault(
            "likelihoods with a floor",
            f"likelihood, compared with the sum over plain logits|{DEFINITION}",
            scores_of(lambda p, tokens, allowed: torch.where(p.isfinite(), p.clamp(min=-25.0 * tokens), p)),
            THREE,
        ),
    ),
    "losses_of_rows_add_up": (
        Fault(
            "training on the hardest row",
            "but with other rows by",
            objective(loss=hardest_row),
            ENCODER,
            also=("the_training_loss_is_the_likelihood",),
        ),
        Fault(
            "a canvas as long as the longest target of a batch",
            "training reads 2 positions of a target of 2 tokens beside one of 2, 6 beside one of 6",
            prepared(short_canvas),
            ENCODER,
        ),
    ),
}
