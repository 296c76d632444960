"""Who sees what: masks, windows, axes, positions, sources and targets."""

from mutations.operator import PARTS, Operator, applied, expression_rules
from mutations.patterns import at_start, expression, keyword

FAMILIES = r"^(decoder|encoder|encoder_decoder|family|layout|cache):"
_OTHER_AXIS = expression_rules(
    [
        ("_x.sum(1)", "{_x}.sum(0)"),
        ("_x.sum(1, keepdim=True)", "{_x}.sum(0, keepdim=True)"),
        ("_x.sum(-1, keepdim=True)", "{_x}.sum(-2, keepdim=True)"),
        ("_x.any(1)", "{_x}.any(0)"),
        ("_x.any(-1, keepdim=True)", "{_x}.any(-2, keepdim=True)"),
        ("_x.mean(1, keepdim=True)", "{_x}.mean(0, keepdim=True)"),
        ("_x.softmax(-1)", "{_x}.softmax(-2)"),
        ("_x.log_softmax(-1)", "{_x}.log_softmax(0)"),
        ("_x.cumsum(1)", "{_x}.cumsum(0)"),
        ("_x.cumsum(-1)", "{_x}.cumsum(0)"),
        ("_x.argsort(1)", "{_x}.argsort(0)"),
        ("_x.argsort(dim=1, stable=True)", "{_x}.argsort(dim=0, stable=True)"),
        ("_x.argmax(-1)", "{_x}.argmax(0)"),
        ("_x.permute(0, 3, 1, 2)", "{_x}.permute(0, 3, 2, 1)"),
    ]
)
_RESHAPED = expression_rules(
    [
        ("y.view(*y.shape[:2], -1, self.head_dim).transpose(1, 2)", "y.view(len(y), -1, y.shape[1], self.head_dim)"),
        ("_x.transpose(1, 2).flatten(2)", "{_x}.reshape(len({_x}), {_x}.shape[2], -1)"),
        (
            "states.view(*target.shape, states.shape[-1])",
            "states.view(*target.T.shape, states.shape[-1]).transpose(0, 1)",
        ),
        ("_x.T.nonzero(as_tuple=True)", "{_x}.nonzero(as_tuple=True)"),
    ]
)
_NORM_AXES = tuple(
    expression(pattern, replacement.replace("AXIS", axis))
    for axis in ("0", "-2")
    for pattern, replacement in (
        (
            "F.layer_norm(x, _s, _w, _b, _e)",
            "F.layer_norm(x - x.mean(AXIS, keepdim=True), {_s}, {_w}, {_b}, {_e})",
        ),
        ("F.rms_norm(wide, _s, _w, _e)", "F.rms_norm(wide - wide.mean(AXIS, keepdim=True), {_s}, {_w}, {_e})"),
    )
)
_HIDE_SECOND = "if {0} is not None and {0}.shape[1] > 1:\n    {0} = torch.cat([{0}[:, :1], {0}[:, :1], {0}[:, 2:]], 1)"
_HIDE_LATE = "if {0} is not None:\n    {0} = torch.cat([{0}[:, :20], 0 * {0}[:, 20:] + 5], 1)"

OPERATORS = (
    Operator(
        "causal flag flipped",
        "no prediction depends on later tokens",
        expression_rules(
            [
                ("(PREFIX if prefix else CAUSAL) if masked else BIDIRECTIONAL", "BIDIRECTIONAL"),
                (
                    "AttentionContext(_a, _b, CAUSAL, rotation=_r, bias=_c)",
                    "AttentionContext({_a}, {_b}, rotation={_r}, bias={_c})",
                ),
            ]
        ),
    ),
    Operator(
        "causal mask shifted",
        "a position attends to itself and all earlier positions only",
        expression_rules(
            [
                ("key <= query", "key <= query + 1"),
                ("key <= query", "key < query"),
                ("key < source", "key <= source"),
                ("self.rule is CAUSAL and self.queries.shape[-1] == 1", "self.rule is CAUSAL"),
            ]
        ),
    ),
    Operator(
        "padding attended",
        "padding changes nothing",
        (
            keyword("AttentionContext", "present", "None"),
            *expression_rules(
                [
                    ("self.present[:, None, :]", "torch.ones_like(self.present)[:, None, :]"),
                    ("self.present is not None", "False"),
                    ("context.present is None and _a and _b", "{_a} and {_b}"),
                    (
                        "context.rule is CAUSAL and square and _is_rule_alone(context, window)",
                        "context.rule is CAUSAL and square",
                    ),
                    ("Cache(layers, present, _p, _n)", "Cache(layers, None, {_p}, {_n})"),
                    ("Cache(layers, present, _p, _n, _m)", "Cache(layers, None, {_p}, {_n}, {_m})"),
                    ("truth(source_mask)", "None"),
                    ("truth(target_mask)", "None"),
                    ("_mean(x, present)", "_mean(x, None)"),
                    ("(from_end < mask_count) & real", "from_end < mask_count"),
                    ("(rank < count) & candidates", "rank < count"),
                    ("noise.masked_fill(~candidates, 2.0)", "noise"),
                    ("cells.masked_fill(~mask, MASK)", "cells"),
                    ("F.pad(source_mask, (0, 1), value=True)", "F.pad(source_mask, (0, 1), value=False)"),
                    ("mask.bool().cpu()", "mask.bool().cpu() | True"),
                ]
            ),
        ),
    ),
    Operator(
        "mask value weakened",
        "masked positions have no influence",
        expression_rules([('float("-inf")', "-1.0")], r"^(attention|single):"),
    ),
    Operator(
        "window ignored",
        "a window masks distant positions, and FLOPs count only visible ones",
        expression_rules(
            [
                ("(key - query).abs() <= window", "(key - query).abs() <= window + 10_000"),
                ("(key - query).abs() <= window", "(key - query).abs() < window"),
                ("additive(context, window, _n)", "additive(context, None, {_n})"),
                ("context.mask(window)", "context.mask(None)"),
                ("plainly_causal(context, window)", "plainly_causal(context, None)"),
                ("pairs_at_window(self.attention.window)", "pairs_at_window(None)"),
            ]
        ),
    ),
    Operator("another axis", "rows and positions are computed independently", _OTHER_AXIS),
    Operator("reshaped, not transposed", "rows, positions and heads are not mixed", _RESHAPED),
    Operator("norm over batch or time", "a norm is computed over the channels of one position", _NORM_AXES),
    Operator(
        "rows mixed",
        "a row gives the same result alone and in a batch",
        applied("{y} + 0.1 * {y}.roll(1, 0)", PARTS),
    ),
    Operator(
        "positions mixed",
        "only attention mixes positions",
        (*applied("{y} + 0.1 * {y}.roll(1, -2)", PARTS), *applied("{y} + 0.1 * {y}.cumsum(-2)", PARTS)),
    ),
    Operator(
        "order of concatenation swapped",
        "concatenation keeps the order",
        expression_rules([("torch.cat([_a, _b], _d)", "torch.cat([{_b}, {_a}], {_d})")], "^(?!rotate)"),
    ),
    Operator(
        "positions off by one",
        "positions continue after the source, in one pass and with a cache",
        (
            *expression_rules(
                [
                    ("straight(_a, _b)", "straight({_a}, {_b}) + 1"),
                    ("count_positions(_a)", "count_positions({_a}) + 1"),
                ],
                FAMILIES,
            ),
            *expression_rules(
                [
                    ("self.lengths[:, None] + count", "self.lengths[:, None] + count + 1"),
                    ("new[:, -1] + 1", "new[:, -1] + 2"),
                    ("positions[:, -1] + 1", "positions[:, -1] + 2"),
                    ("present.sum(1)", "present.sum(1) + 1"),
                    ("_x.cumsum(1) - 1", "{_x}.cumsum(1)"),
                ],
                FAMILIES,
            ),
        ),
    ),
    Operator(
        "positions count padding",
        "positions count tokens, not padding",
        expression_rules(
            [
                ("count_positions(_a)", "straight({_a}.shape[1], {_a}.device).expand({_a}.shape)"),
                ("present.sum(1)", "present.sum(1) * 0 + present.shape[1]"),
            ],
            FAMILIES,
        ),
    ),
    Operator(
        "queries and keys swapped",
        "queries and keys each have their own positions",
        expression_rules(
            [
                ("queries[..., None]", "keys[..., None]"),
                ("queries[:, None, :, None]", "keys[:, None, :, None]"),
                ("nn.functional.embedding(queries, self.weight)", "nn.functional.embedding(keys, self.weight)"),
                ("own(context.queries, context.keys)", "own(context.keys, context.keys)"),
                ("own(context.queries, context.keys)", "own(context.queries - context.queries[:, :1], context.keys)"),
                (
                    "keys[:, None, :] - queries[:, :, None]",
                    "keys[:, None, :] - torch.arange(queries.shape[1])[:, None]",
                ),
            ],
            r"^(positions|attention):",
        ),
    ),
    Operator(
        "states of other positions",
        "states are read at the requested positions",
        expression_rules(
            [
                ("x.flatten(0, 1).index_select(0, index)", "x.flatten(0, 1).index_select(0, index.flip(0))"),
                ("select(_a, _b)", "select({_a}, {_b}.roll(1))"),
                ("positions[row, column]", "column"),
                ("x[:, self.source_width :]", "x[:, : x.shape[1] - self.source_width]"),
                ("x[:, width:]", "x[:, width:].roll(1, 1)"),
                ("logits[:, -1]", "logits[:, 0]"),
                ("F.pad(later, (1, 0))", "F.pad(later, (0, 1))"),
                ("F.pad(later, (0, 1))", "F.pad(later, (1, 0))"),
                ("cell[:, None]", "cell[:, None] + 1"),
                ("torch.stack(outputs, 1)", "torch.stack(outputs[::-1], 1)"),
            ]
        ),
    ),
    Operator(
        "source not read",
        "every token of the source is read",
        (
            at_start(
                _HIDE_SECOND.format("source"),
                r":(DecoderOnly|EncoderOnly)\.(hidden|prefill)|:EncoderDecoder\.encode",
                "source",
            ),
            at_start(
                _HIDE_LATE.format("source"),
                r":(DecoderOnly|EncoderOnly)\.(hidden|prefill)|:EncoderDecoder\.encode",
                "source",
            ),
            *expression_rules(
                [
                    (
                        "CrossAttentionCache(states, everything)",
                        "CrossAttentionCache(states[:1].expand_as(states), everything)",
                    ),
                    ("CrossAttentionCache(states, everything)", "CrossAttentionCache(states.flip(1), everything)"),
                    (
                        "CrossAttentionCache(states, everything)",
                        "CrossAttentionCache(states[:, :1].expand_as(states), everything)",
                    ),
                ]
            ),
        ),
    ),
    Operator(
        "target not read",
        "every earlier target token is read",
        (
            at_start(_HIDE_SECOND.format("target"), r":\w+\.hidden$", "target"),
            at_start(_HIDE_LATE.format("target"), r":\w+\.hidden$", "target"),
        ),
    ),
)
