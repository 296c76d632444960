"""How targets are hidden, trained on, scored and written."""

from mutations.operator import Operator, expression_rules

OPERATORS = (
    Operator(
        "target not shifted",
        "a causal model predicts a token from the tokens before it",
        expression_rules(
            [("_shift(_a)", "{_a}"), ("target[:, :-1]", "target[:, 1:]")],
            r"^causal:",
        ),
    ),
    Operator(
        "END unscored",
        "END is trained, scored and generated like other tokens",
        (
            *expression_rules(
                [
                    (
                        "full(batch.target, batch.target_mask)",
                        "full(batch.target, batch.target_mask) & (batch.target != 2)",
                    )
                ],
                r"log_likelihood",
            ),
            *expression_rules(
                [("batch.real()", "(batch.real()[0], batch.real()[1] & (batch.target.cpu() != 2))")],
                r":(Causal|Masked)\.",
            ),
            *expression_rules(
                [("scores + steps[..., END]", "scores"), ("choice != END", "choice >= 0")], r"^generate:"
            ),
            *expression_rules([("batch.target", "batch.target[:, :-1]")], r"log_likelihood"),
        ),
    ),
    Operator(
        "softmax over other tokens",
        "probabilities are normalised over the allowed tokens",
        expression_rules(
            [
                ('_x.masked_fill(~allowed_tokens, float("-inf"))', "{_x}"),
                (
                    "Targets(inputs.labels, inputs.weights, allowed_tokens, smoothing)",
                    "Targets(inputs.labels, inputs.weights, None, smoothing)",
                ),
                ("log_softmax(_x, allowed_tokens)", "log_softmax({_x}, torch.ones_like(allowed_tokens))"),
                ("zero.masked_fill(~allowed_tokens, _v)", "zero"),
            ]
        ),
    ),
    Operator(
        "mask token allowed",
        "no answer contains a reserved token",
        expression_rules([("~allowed_tokens", "(~allowed_tokens & (torch.arange(len(allowed_tokens)) != 3))")]),
    ),
    Operator(
        "reserved token swapped",
        "training, scoring and generation use the same reserved tokens",
        expression_rules(
            [("MASK", "0"), ("BOS", "2")], r"^(encoder|encoder_decoder|generate):|^causal:_shift|^masked:(?!_ended)"
        ),
    ),
    Operator(
        "likelihood not a sum",
        "a likelihood is the sum over the target's tokens",
        expression_rules(
            [
                ("scores.view(real.shape).sum(1)", "scores.view(real.shape).mean(1)"),
                ("scores.sum(1)", "scores.mean(1)"),
            ]
        ),
    ),
    Operator(
        "loss weighted differently",
        "a training loss has the scale that its docstring states",
        (
            *expression_rules(
                [
                    ("equal_shares(_a, _b)", "equal_shares({_a}, {_b}) * len({_a})"),
                    ("_x / inputs.tokens", "{_x}"),
                    ("lengths / mask_count", "torch.ones_like(lengths / mask_count)"),
                    ("torch.stack(total).mean(0)", "torch.stack(total).sum(0)"),
                    ("draw.weights[draw.predicted]", "draw.weights[draw.predicted].flip(0)"),
                    (
                        "(uniform * lengths).long().clamp(max=lengths - 1) + 1",
                        "(uniform * lengths).long().clamp(max=lengths - 1)",
                    ),
                    ("(uniform * lengths).long().clamp(max=lengths - 1) + 1", "lengths"),
                    ("(nats * inputs.weights[part]).double()", "nats.double()"),
                ]
            ),
        ),
    ),
    Operator(
        "labels ignored in training",
        "every token of the target has a loss",
        (
            *expression_rules(
                [
                    ("index_of(target, batch.target)", "index_of(target, batch.target)[1:]"),
                    ("index_of(target, batch.target)", "index_of(target, batch.target)[:-1]"),
                ],
                r"prepare",
            ),
            *expression_rules(
                [
                    ("self._draw_source_mask(source_real, generator) if native else None", "None"),
                    ("native and model.source_predicts and batch.source.shape[1] > 1", "False"),
                ]
            ),
            *expression_rules(
                [
                    (
                        "Targets(inputs.labels, inputs.weights, allowed_tokens, smoothing)",
                        "Targets(inputs.labels, inputs.weights, allowed_tokens, 0.0)",
                    )
                ]
            ),
        ),
    ),
    Operator(
        "decoding setting ignored",
        "generation follows its settings",
        (
            *expression_rules(
                [
                    ("decoding.temperature", "1.0"),
                    ("decoding.top_k", "0"),
                    ("decoding.top_p", "1.0"),
                    ("decoding.beams", "2"),
                    ("decoding.length_penalty", "1.0"),
                    ("decoding.rounds", "1"),
                    ("decoding.max_tokens", "(decoding.max_tokens + 1)"),
                    ('decoding.strategy == "beam"', "False"),
                    ('decoding.strategy == "confident"', "False"),
                    ('decoding.strategy == "greedy"', "True"),
                    ("start is not None", "False"),
                ],
                r"^(generate|masked):",
            ),
        ),
    ),
)
