"""What a call keeps, changes or draws: caches, inputs, state, generators, modes."""

from mutations.operator import PARTS, Operator, applied, expression_rules
from mutations.patterns import at_start, keyword

ROWS = r"rows\b"
_WITH_DROPOUT = "size = __import__('dataclasses').replace(size, dropout={0})"
_CALLS = "(1.0 + 0.01 * (self.__dict__.setdefault('calls', []).append(0) or len(self.calls)))"

OPERATORS = (
    Operator(
        "rows of a cache swapped",
        "cache rows are selected by the index",
        (
            *expression_rules([("_x[index]", "{_x}[0 * index]"), ("_x[index]", "{_x}[index.flip(0)]")], ROWS),
            *expression_rules([("_x.rows(index)", "{_x}.rows(0 * index)")], ROWS),
            *expression_rules([("x is None or shared", "True"), ("self.present is None", "True")], r"Cache\.rows"),
            *expression_rules(
                [
                    ("parent + torch.arange(rows, device=device)[:, None] * beams", "parent"),
                    ("written.gather(1, _i)", "written"),
                    ("torch.arange(rows, device=device).repeat_interleave(beams)", "torch.arange(rows).repeat(beams)"),
                    ("tokens.repeat_interleave(beams, 0)", "tokens.repeat(beams, 1)"),
                    ("going.nonzero().squeeze(1)", "going.nonzero().squeeze(1).flip(0)"),
                    ("torch.zeros_like(tokens[:, 0])", "torch.arange(len(tokens)) * 0"),
                ]
            ),
        ),
    ),
    Operator(
        "cache changed in place",
        "decoding leaves its cache unchanged",
        expression_rules(
            [
                ("self.filled == begin and end <= self.keys.shape[2]", "end <= self.keys.shape[2]"),
                (
                    "KeyValueBuffer(self.keys[index], self.values[index], end)",
                    "KeyValueBuffer(self.keys, self.values, end)",
                ),
                ("torch.is_grad_enabled()", "False"),
            ],
            r"^key_values:(KeyValueBuffer|KeyValues)",
        ),
    ),
    Operator(
        "layer's cache swapped",
        "every layer reads its own keys and values",
        expression_rules([("past[layer]", "past[0]"), ("self.memory[number]", "self.memory[0]")]),
    ),
    Operator(
        "state kept between calls",
        "a call keeps no state",
        (
            *applied(f"{{y}} * {_CALLS}", PARTS),
            *applied(f"{{y}} * ({_CALLS} if self.training else 1.0)", PARTS),
        ),
    ),
    Operator(
        "training mode computes differently",
        "training and scoring compute the same function",
        applied("{y} * (1.1 if self.training else 1.0)", PARTS),
    ),
    Operator(
        "gradient mode computes differently",
        "training and scoring compute the same function",
        applied("{y} * (1.1 if torch.is_grad_enabled() else 1.0)", PARTS),
    ),
    Operator(
        "inputs changed in place",
        "inputs are not modified",
        (
            at_start(
                "source is None or source.clamp_(max=12)",
                r":(DecoderOnly|EncoderOnly|EncoderDecoder)\.(hidden|prefill|encode)$",
                "source",
            ),
            at_start("target.clamp_(max=12)", r":(DecoderOnly|EncoderOnly|EncoderDecoder)\.hidden$", "target"),
            at_start(
                "source_mask is None or source_mask.fill_(True)",
                r":(DecoderOnly|EncoderOnly|EncoderDecoder)\.(hidden|prefill)$",
                "source_mask",
            ),
            at_start("tokens.clamp_(max=12)", r":(DecoderOnly|EncoderOnly|EncoderDecoder)\.decode$", "tokens"),
            at_start("batch.target.clamp_(max=12)", r":(Causal|Masked)\.(prepare|log_likelihood)$", "batch"),
            at_start(
                "allowed_tokens[6] = False", r":(Causal|Masked)\.(loss|log_likelihood|generate)$", "allowed_tokens"
            ),
            *expression_rules([("_x.masked_fill(_a, _b)", "{_x}.masked_fill_({_a}, {_b})")]),
            *expression_rules([("x + y", "x.add_(y)")], r"^norm:"),
        ),
    ),
    Operator(
        "generator ignored",
        "all random draws use the given generator",
        (
            keyword("torch.rand", "generator", "None"),
            *expression_rules(
                [
                    ("self._draw_mask(real, generator)", "self._draw_mask(real, None)"),
                    ("self._draw_source_mask(source_real, generator)", "self._draw_source_mask(source_real, None)"),
                ]
            ),
        ),
    ),
    Operator(
        "seed reused",
        "random draws differ between calls and rows",
        (
            keyword("torch.rand", "generator", "torch.Generator().manual_seed(0)"),
            *expression_rules(
                [
                    (
                        "torch.rand(len(_a), 1, generator=generator)",
                        "torch.rand(1, 1, generator=generator).expand(len({_a}), 1)",
                    ),
                    (
                        "torch.rand(_a.shape, generator=generator)",
                        "torch.rand({_a}[:1].shape, generator=generator).expand({_a}.shape)",
                    ),
                    (
                        "torch.rand(len(_a), 1, generator=generator, dtype=torch.float64)",
                        "torch.rand(1, 1, generator=generator, dtype=torch.float64).expand(len({_a}), 1)",
                    ),
                ]
            ),
        ),
    ),
    Operator(
        "dropout omitted",
        "training uses the configured dropout",
        (
            *expression_rules([("self.dropout(_x)", "{_x}"), ("self.dropout if self.training else 0.0", "0.0")]),
            *expression_rules([("nn.Dropout(_p)", "nn.Dropout(0.0)")], PARTS),
            at_start(_WITH_DROPOUT.format("0.0"), r":build$", "size"),
        ),
    ),
    Operator(
        "dropout in scoring",
        "scoring uses no dropout",
        expression_rules(
            [
                ("self.dropout(_x)", "torch.dropout({_x}, self.dropout.p, True)"),
                ("self.dropout if self.training else 0.0", "self.dropout"),
            ]
        ),
    ),
    Operator(
        "dropout hard-coded",
        "dropout has the configured rate",
        (
            *expression_rules([("nn.Dropout(_p)", "nn.Dropout(0.1)")], PARTS),
            at_start(_WITH_DROPOUT.format("0.1"), r":build$", "size"),
        ),
    ),
)
