"""What the tests of every shape in ``architectures.interop`` share: random models and batches, and what "equal" means.

Logits count as equal within 1e-4 at real positions, weights bit for bit.
"""

import copy
import inspect
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archbench.architectures.conversion.convert import from_transformers, is_tied, to_transformers
from archbench.architectures.conversion.shape import Shape, pull, push
from archbench.architectures.conversion.structure import difference
from archbench.architectures.objectives.generate import decode_left_to_right
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END

SIDES = ("none", "right", "left")
TOLERANCE = 1e-4


@torch.no_grad()
def randomised(model: Any, seed: int) -> Any:
    """``model`` with every parameter drawn anew, in evaluation mode: norms about 1, all else (biases too) about 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        if parameter.dim() == 1 and not name.endswith("bias"):
            parameter.add_(1.0)
    return model.eval()


def batch(vocabulary: int, rows: int, width: int, side: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, mask of 0 and 1, and positions counted over tokens, each (rows, width).

    ``side`` is where padding stands: none, right or left; then the first row has none of it, the last a single token.
    Ids at padding are as random as any.
    """
    assert side in SIDES and (side == "none" or rows > 1)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary, (rows, width), generator=generator)
    lengths = torch.full((rows,), width)
    if side != "none":
        lengths = torch.linspace(width, 1, rows).round().long()
    mask = (torch.arange(width) < lengths[:, None]).long()
    if side == "left":
        mask = mask.flip(1)
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def assert_close(actual: Tensor, expected: Tensor, mask: Tensor | None = None) -> None:
    """Logits (b, t, v) are equal within 1e-4 where ``mask`` (b, t) is 1, and are no constant."""
    if mask is not None:
        assert mask.shape == actual.shape[:2] == expected.shape[:2]
        actual, expected = actual[mask.bool()], expected[mask.bool()]
    assert expected.std() > 0.1, "logits that hardly differ show nothing"
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=0.0)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    """Two models of one class have the same tensors under the same names, bit for bit, and tie the same names."""
    assert type(a) is type(b)
    tensors, other = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    assert tensors.keys() == other.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == other[name].dtype and torch.equal(tensor, other[name]), name
    assert _ties(tensors) == _ties(other)


def with_field(config: Any, field: str, value: object) -> Any:
    """A new configuration that has ``value`` in ``field``."""
    return type(config).from_dict({**config.to_dict(), field: value})


def assert_fields_are_carried(shape: Shape, config: Any, changes: Mapping[str, object]) -> None:
    """Every field in ``changes``, set to that value, makes another model of ours: it is not just let by."""
    with torch.device("meta"):
        usual = shape.build(config, False)
        for name, value in changes.items():
            changed = shape.build(with_field(config, name, value), False)
            assert difference(changed, usual) is not None, name


def assert_refused(theirs: Any, field: str, value: object, named: str | None = None) -> None:
    """A configuration that has ``value`` in ``field`` is an error that names the field, or ``named`` instead."""
    before = theirs.config
    theirs.config = copy.copy(before)
    setattr(theirs.config, field, value)
    with pytest.raises(InputError, match=re.escape(named or field)):
        from_transformers(theirs)
    theirs.config = before
    from_transformers(theirs)


def assert_left_over_is_noticed(shape: Shape, theirs: Any) -> None:
    """A tensor that no link names, on either side and in either direction, fails by name; so does a missing link."""
    tied = is_tied(theirs)
    ours, links = shape.build(theirs.config, tied), list(shape.links(theirs.config, tied))
    for move in (pull, push):
        move(ours, theirs, links)
        for model in (ours, theirs):
            model.planted = nn.Parameter(torch.zeros(3))
            with pytest.raises(AssertionError, match="planted"):
                move(ours, theirs, links)
            del model.planted
        for link in links:
            with pytest.raises(AssertionError, match=re.escape(link.ours)):
                move(ours, theirs, [other for other in links if other is not link])


def assert_returns_bit_equal(ours: Any) -> None:
    """Our model goes to ``transformers`` and back as the same model with the same weights."""
    back = from_transformers(to_transformers(ours))
    assert difference(back, ours) is None
    assert_same_weights(back, ours)


def cache_name(model: Any) -> str:
    """What ``forward`` and outputs of this release of ``transformers`` call the key/value cache."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


@torch.no_grad()
def assert_logits(theirs: Any, side: str, width: int = 11) -> None:
    """A decoder-only or encoder-only model of theirs, and ours made of it, read one batch alike."""
    ids, mask, positions = batch(theirs.config.vocab_size, 4, width, side, seed=1)
    expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
    assert_close(from_transformers(theirs)(None, ids, None, mask), expected, mask)


@torch.no_grad()
def assert_logits_without_mask(theirs: Any, width: int) -> None:
    """Both read a batch alike that comes with neither a mask nor positions."""
    ids, _, _ = batch(theirs.config.vocab_size, 3, width, "none", seed=2)
    assert_close(from_transformers(theirs)(None, ids), theirs(ids).logits)


@torch.no_grad()
def assert_source_and_canvas_are_one(theirs: Any, source: int, canvas: int) -> None:
    """An encoder of ours reads so many tokens of source and of canvas as theirs reads the sequence of both."""
    ids, mask, positions = batch(theirs.config.vocab_size, 4, source + canvas, "left", seed=3)
    expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
    ours = from_transformers(theirs, canvas=canvas)
    assert ours.canvas == canvas
    logits = ours(ids[:, :source], ids[:, source:], mask[:, :source], mask[:, source:])
    assert_close(logits, expected[:, source:], mask[:, source:])


def assert_round_trip_keeps_every_bit(theirs: Any, tied: bool) -> None:
    """Their model comes to us and goes back with the same weights, tied as it was."""
    ours = from_transformers(theirs)
    assert (ours.head.weight is ours.embedding.weight) == is_tied(theirs) == tied
    assert_same_weights(to_transformers(ours), theirs)


@torch.no_grad()
def assert_decoder_cache(theirs: Any, side: str) -> None:
    """Both read a padded source and then tokens in pieces of 1, 3 and 1, each with its own cache, alike."""
    source, source_mask, _ = batch(theirs.config.vocab_size, 4, 6, side, seed=2)
    tokens, _, _ = batch(theirs.config.vocab_size, 4, 5, "none", seed=3)
    ours, name = from_transformers(theirs), cache_name(theirs)
    mask = torch.cat([source_mask, torch.ones_like(tokens)], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = theirs(source, attention_mask=source_mask, position_ids=positions[:, :6], use_cache=True)
    cache, outputs, expected, length = ours.prefill(source, source_mask), [], [], 6
    for piece in tokens.split([1, 3, 1], 1):
        after = length + piece.shape[1]
        places = {"attention_mask": mask[:, :after], "position_ids": positions[:, length:after]}
        out, length = theirs(piece, use_cache=True, **places, **{name: out[name]}), after
        logits, cache = ours.decode(piece, cache)
        outputs.append(logits)
        expected.append(out.logits)
    assert_close(torch.cat(outputs, 1), torch.cat(expected, 1))


def assert_decoder_writes_alike(theirs: Any, max_tokens: int = 12) -> None:
    """Greedy writing is equal for new weights until some rows have come to END and some have not."""
    lengths: set[int] = set()
    for seed in range(40):
        lengths |= _written_alike(randomised(theirs, seed), 16, max_tokens)
        if max_tokens in lengths and len(lengths) > 1:
            return
    raise AssertionError(f"all rows were equally long: {lengths}")


@torch.no_grad()
def _written_alike(theirs: Any, rows: int, max_tokens: int) -> set[int]:
    """``generate()`` of theirs after ``[source, BOS]`` equals ours after the source, END left out -> lengths."""
    vocabulary = theirs.config.vocab_size
    source, mask, _ = batch(vocabulary, rows, 6, "left", seed=4)
    prompt, present = torch.cat([source, torch.full((rows, 1), BOS)], 1), torch.cat([mask, mask[:, -1:]], 1)
    whole = theirs.generate(prompt, attention_mask=present, max_new_tokens=max_tokens, do_sample=False)
    written = whole[:, prompt.shape[1] :].tolist()
    expected = [row[: row.index(END)] if END in row else row for row in written]
    allowed_tokens = torch.ones(vocabulary, dtype=torch.bool)
    answers = decode_left_to_right(from_transformers(theirs), source, mask, allowed_tokens, Decoding(max_tokens))
    assert [row.tolist() for row in answers] == expected
    return {len(row) for row in expected}


def _ties(tensors: dict[str, Tensor]) -> list[str]:
    """For each name, the first name of the same tensor."""
    first: dict[int, str] = {}
    return [first.setdefault(id(tensor), name) for name, tensor in tensors.items()]
