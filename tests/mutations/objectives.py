"""How targets are hidden, trained on, scored and written."""

from mutations.operator import Operator, each

OPERATORS = (
    Operator(
        "target not shifted",
        "a causal model reads what stands before a token to predict it",
        each(
            [("_shift(_a)", "{_a}"), ("target[:, :-1]", "target[:, 1:]"), ("inputs[:, :-1]", "inputs[:, 1:]")],
            r"^causal:",
        ),
    ),
    Operator(
        "END unscored",
        "END is trained, scored and chosen as other tokens are",
        (
            *each(
                [
                    (
                        "full(pairs.target, pairs.target_mask)",
                        "full(pairs.target, pairs.target_mask) & (pairs.target != 2)",
                    )
                ],
                r"log_likelihood",
            ),
            *each(
                [("present(pairs)", "(present(pairs)[0], present(pairs)[1] & (pairs.target.cpu() != 2))")],
                r":(Causal|Masked)\.",
            ),
            *each([("scores + steps[..., END]", "scores"), ("choice != END", "choice >= 0")], r"^generate:"),
            *each([("pairs.target", "pairs.target[:, :-1]")], r"log_likelihood"),
        ),
    ),
    Operator(
        "softmax over other tokens",
        "probability is divided among the tokens that an answer may use",
        each(
            [
                ('_x.masked_fill(~answers, float("-inf"))', "{_x}"),
                (
                    "loss_of(model, states.target, self.labels, self.weights, answers, smoothing)",
                    "loss_of(model, states.target, self.labels, self.weights, None, smoothing)",
                ),
                ("log_softmax(_x, answers)", "log_softmax({_x}, torch.ones_like(answers))"),
                ("zero.masked_fill(~answers, _v)", "zero"),
            ]
        ),
    ),
    Operator(
        "mask token allowed",
        "no answer holds a reserved token",
        each([("~answers", "(~answers & (torch.arange(len(answers)) != 3))")]),
    ),
    Operator(
        "reserved token exchanged",
        "training, scoring and writing put the same reserved tokens",
        each([("MASK", "0"), ("BOS", "2")], r"^(encoder|encoder_decoder|generate):|^causal:_shift|^masked:(?!_ended)"),
    ),
    Operator(
        "likelihood not a sum",
        "a likelihood is the sum over the target's tokens",
        each(
            [
                ("scores.view(real.shape).sum(1)", "scores.view(real.shape).mean(1)"),
                ("scores.sum(1)", "scores.mean(1)"),
                ("total.view(target.shape).sum(1)", "total.view(target.shape).mean(1)"),
            ]
        ),
    ),
    Operator(
        "loss weighted otherwise",
        "a training loss has the scale that its docstring states",
        (
            *each(
                [
                    ("evenly(labels)", "evenly(labels) * len(labels)"),
                    ("asked.weights / int(target.sum())", "asked.weights"),
                    ("lengths / hidden", "torch.ones_like(lengths / hidden)"),
                    ("_x / draws", "{_x}"),
                    ("weights[hidden]", "weights[hidden].flip(0)"),
                    (
                        "(uniform * lengths).long().clamp(max=lengths - 1) + 1",
                        "(uniform * lengths).long().clamp(max=lengths - 1)",
                    ),
                    ("(uniform * lengths).long().clamp(max=lengths - 1) + 1", "lengths"),
                    ("(losses * asked.weights[part]).double()", "losses.double()"),
                ]
            ),
        ),
    ),
    Operator(
        "labels ignored in training",
        "every token of the target has a loss",
        (
            *each(
                [
                    ("places(target, pairs.target)", "places(target, pairs.target)[1:]"),
                    ("places(target, pairs.target)", "places(target, pairs.target)[:-1]"),
                ],
                r"asked",
            ),
            *each(
                [
                    ("self._hide_source(source, generator) if native else None", "None"),
                    ("native and model.source_predicts and pairs.source.shape[1] > 1", "False"),
                ]
            ),
            *each(
                [
                    (
                        "loss_of(model, states.target, self.labels, self.weights, answers, smoothing)",
                        "loss_of(model, states.target, self.labels, self.weights, answers, 0.0)",
                    )
                ]
            ),
        ),
    ),
    Operator(
        "decoding setting ignored",
        "an answer is written as it was asked for",
        (
            *each(
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
