"""What is built and counted: parameters, gradients, ties, initial weights, sizes, FLOPs."""

from mutations.operator import PARTS, Operator, applied, expression_rules
from mutations.patterns import Rule, keyword, method, returned

COUNTING = r"flops|loss_tokens|_before|^numbers:|:tripled"


def _drawn_by(generator: str) -> tuple[Rule, ...]:
    """Initial weights come from a generator of their own."""
    normal = f"normal_(generator={generator})"
    return expression_rules(
        [
            ("torch.randn(_a, _b)", f"torch.empty({{_a}}, {{_b}}).{normal}"),
            ("nn.init.normal_(_w, std=_s)", f"nn.init.normal_({{_w}}, std={{_s}}, generator={generator})"),
        ]
    )


OPERATORS = (
    Operator(
        "gradient stopped",
        "gradients are those of the loss",
        (
            *expression_rules(
                [
                    ("self.norm(_x)", "self.norm({_x}.detach())"),
                    ("self.down(_x)", "self.down({_x}.detach())"),
                    ("self.output(_x)", "self.output({_x}.detach())"),
                    ("self.gate_up(_x)", "self.gate_up({_x}.detach())"),
                    ("self.up(_x)", "self.up({_x}.detach())"),
                    ("self.query_key_value(_x)", "self.query_key_value({_x}.detach())"),
                    ("F.embedding(tokens, self.weight)", "F.embedding(tokens, self.weight).detach()"),
                    ("nn.functional.embedding(_a, self.weight)", "nn.functional.embedding({_a}, self.weight).detach()"),
                    ("self.segments[0]", "self.segments[0].detach()"),
                    ("self.transform(_x)", "self.transform({_x}).detach()"),
                    ("self.project_keys_values(_x)", "self.project_keys_values({_x}.detach())"),
                    ("CrossAttentionCache(states, everything)", "CrossAttentionCache(states.detach(), everything)"),
                    ("self.head(states, targets)", "self.head(states.detach(), targets)"),
                    ("KeyValues(k, v)", "KeyValues(k.detach(), v)"),
                    ("KeyValues(k, v)", "KeyValues(k, v.detach())"),
                    ("Product(_a, self.weight, self.bias)", "Product({_a}, self.weight.detach(), self.bias)"),
                    ("self.activated(gate) * up", "self.activated(gate) * up.detach()"),
                    ("bias.masked_fill(_a, _b)", "bias.detach().masked_fill({_a}, {_b})"),
                ]
            ),
            *expression_rules([("x + y", "x.detach() + y"), ("x + y", "x + y.detach()")], r"^norm:"),
        ),
    ),
    Operator(
        "gradient scaled",
        "gradients are those of the loss",
        (
            *applied("(lambda y: 2 * y - y.detach())({y})", PARTS),
            *expression_rules([("-sin", "sin")], r"backward"),
            *expression_rules(
                [
                    (
                        "torch.mul(grad_output, weight, out=along).addcmul_(normed, drift).mul_(scale)",
                        "torch.mul(grad_output, weight, out=along).mul_(scale)",
                    ),
                    ("along.view(-1, len(weight)).sum(0)", "along.view(-1, len(weight)).mean(0)"),
                    (
                        "(matrix_gradient.add(grad_logits, rows) @ w) * weight",
                        "matrix_gradient.add(grad_logits, rows) @ w",
                    ),
                    ("(grad_logits.T @ weight).squeeze(1)", "grad_logits.sum(0)"),
                    ("smoothing - 1.0", "-1.0"),
                    ("self.weights[_a]", "1.0"),
                ]
            ),
        ),
    ),
    Operator(
        "parameter unused",
        "every parameter that a budget counts is used",
        (
            *expression_rules(
                [
                    ("F.layer_norm(x, _s, _w, _b, _e)", "F.layer_norm(x, {_s}, None, {_b}, {_e})"),
                    ("F.layer_norm(x, _s, _w, _b, _e)", "F.layer_norm(x, {_s}, {_w}, None, {_e})"),
                    ("rms_norm(x, _w, _e)", "rms_norm(x, torch.ones_like({_w}), {_e})"),
                    ("self.segments[0]", "0.0"),
                    ("self.norm(_x)", "{_x}"),
                    ("self.transform(_x)", "{_x}"),
                    ("self.activated(gate) * up", "self.activated(gate)"),
                    ("bias[: self.inner]", "0.0 * bias[: self.inner]"),
                    ("bias[self.inner :]", "0.0 * bias[self.inner :]"),
                    ("Product(_a, self.weight, self.bias)", "Product({_a}, self.weight, None)"),
                    ("self.cross is not None and self.around_cross is not None", "False"),
                ],
            ),
            *expression_rules([("self.feedforward(_x)", "torch.zeros_like({_x})")], r"^stack:"),
        ),
    ),
    Operator(
        "parameter frozen",
        "every parameter is trained",
        expression_rules([("nn.Parameter(_a)", "nn.Parameter({_a}, requires_grad=False)")]),
    ),
    Operator(
        "parameter not registered",
        "every tensor is trained, counted and saved",
        expression_rules([("nn.Parameter(_a)", "{_a}.requires_grad_()")]),
    ),
    Operator(
        "weight declared a table",
        "`parameters` counts everything but tables and output matrix",
        (
            method(
                "def tables(self) -> list[nn.Parameter]:\n    return list(self.parameters())",
                r":(Attention|Average|LayerNorm|RMSNorm|FeedForward|GatedFeedForward|RelativeBias|Transform)\.forward$",
            ),
        ),
    ),
    Operator(
        "table not declared",
        "`parameters` excludes tables and output matrix",
        (
            returned("[]", r"tables$"),
            *expression_rules(
                [("[self.weight, self.segments]", "[self.weight]"), ("[self.weight, self.bias]", "[self.weight]")]
            ),
        ),
    ),
    Operator(
        "initialisation unrepeatable",
        "the same seed gives the same initial weights",
        _drawn_by("(lambda g: (g.seed(), g)[1])(__import__('torch').Generator())"),
    ),
    Operator(
        "initialisation without the seed",
        "another seed gives other initial weights",
        _drawn_by("__import__('torch').Generator().manual_seed(0)"),
    ),
    Operator(
        "tie undone",
        "tied weights are one parameter",
        expression_rules(
            [
                ("tied.weight", "nn.Parameter(tied.weight.detach().clone())"),
                ("layer.attention", "__import__('copy').deepcopy(layer.attention)"),
                ("layer.feedforward", "__import__('copy').deepcopy(layer.feedforward)"),
                ("layer.around_attention", "__import__('copy').deepcopy(layer.around_attention)"),
                ("encoder.norm", "__import__('copy').deepcopy(encoder.norm)"),
            ]
        ),
    ),
    Operator(
        "size ignored",
        "a model has the given size and limits",
        (
            *expression_rules(
                [
                    ("size.depth", "2"),
                    ("size.depth", "min(size.depth, 3)"),
                    ("size.hidden", "24"),
                    ("size.hidden", "-(-size.hidden // 8) * 8"),
                    ("size.hidden", "min(size.hidden, 60)"),
                    ("size.heads", "2"),
                    ("limits.vocabulary", "23"),
                    ("limits.length", "14"),
                    ("limits.length", "(limits.length - 1)"),
                    ("limits.target_length", "6"),
                    ("limits.target_length", "(limits.target_length + 1)"),
                ],
                r"^(decoder|gpt2|encoder|bert|encoder_decoder|t5|llama|modernbert):build",
            ),
        ),
    ),
    Operator(
        "FLOPs term omitted",
        "FLOPs count every matrix product",
        (
            *expression_rules([("_a + _b", "{_a}"), ("_a + _b", "{_b}"), ("_a - _b", "{_a}")], COUNTING),
            keyword("self.stack.flops", "selected", "None"),
        ),
    ),
    Operator(
        "FLOPs halved",
        "FLOPs count multiplications and additions, forward and backward",
        expression_rules(
            [
                ("2.0 * _a", "{_a}"),
                ("4.0 * _a", "2.0 * {_a}"),
                ("6.0 * _a", "3.0 * {_a}"),
                ("3.0 * _a", "2.0 * {_a}"),
                ("0.5 * _a", "{_a}"),
                ("_a / 2.0", "{_a}"),
            ],
            COUNTING,
        ),
    ),
)
