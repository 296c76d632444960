"""What the tests of every shape in ``architectures.interop`` share: random models and batches, and what "equal" means.

Logits count as equal within 1e-4 at real positions, weights bit for bit.
"""

import copy
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archbench.architectures.conversion.convert import from_transformers, is_tied, to_transformers
from archbench.architectures.conversion.structure import difference
from archbench.architectures.formats.shape import Shape, pull, push
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


@torch.no_grad()
def assert_logits(theirs: Any, side: str, width: int = 11, ours: Any = None) -> None:
    """A model of theirs, and ours made of it or given, read one batch alike."""
    ours = from_transformers(theirs) if ours is None else ours
    ids, mask, positions = batch(theirs.config.vocab_size, 4, width, side, seed=1)
    if theirs.config.is_encoder_decoder:
        target, _, _ = batch(theirs.config.vocab_size, 4, 9, "none", seed=2)
        expected = theirs(input_ids=ids, decoder_input_ids=target, attention_mask=mask).logits
        assert_close(ours(ids, target, mask), expected)
    else:
        expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
        assert_close(ours(None, ids, None, mask), expected, mask)


@torch.no_grad()
def assert_cache(theirs: Any, side: str) -> None:
    """Both read a padded source and then tokens in pieces, each with its own cache, alike, and ours as in one pass."""
    source, mask, _ = batch(theirs.config.vocab_size, 4, 7, side, seed=2)
    tokens, _, _ = batch(theirs.config.vocab_size, 4, 12, "none", seed=3)
    pieces, ours, outputs = tokens.split([5, 1, 1, 3, 2], 1), from_transformers(theirs), []
    cache = ours.prefill(source, mask)
    for piece, expected in zip(pieces, _decoded(theirs, source, mask, pieces), strict=True):
        logits, cache = ours.decode(piece, cache)
        assert_close(logits, expected)
        outputs.append(logits)
    assert_close(torch.cat(outputs, 1), ours(source, tokens, mask))


def _decoded(theirs: Any, source: Tensor, mask: Tensor, pieces: Sequence[Tensor]) -> Iterator[Tensor]:
    """Logits of each piece after the source, by the cache of theirs."""
    # what `forward` and outputs of this release of `transformers` call the key/value cache
    name = "cache" if "cache" in inspect.signature(theirs.forward).parameters else "past_key_values"
    if theirs.config.is_encoder_decoder:
        memory, past = theirs.encoder(input_ids=source, attention_mask=mask), None
        for piece in pieces:
            inputs = {"encoder_outputs": memory, "attention_mask": mask, "decoder_input_ids": piece, name: past}
            step = theirs(**inputs, use_cache=True)
            past = step[name]
            yield step.logits
        return
    mask = torch.cat([mask, torch.ones(len(mask), sum(piece.shape[1] for piece in pieces), dtype=torch.long)], 1)
    positions, past, begin = (mask.cumsum(1) - 1).clamp(min=0), None, 0
    for piece in (source, *pieces):
        end = begin + piece.shape[1]
        places = {"attention_mask": mask[:, :end], "position_ids": positions[:, begin:end]}
        step = theirs(piece, use_cache=True, **places, **{name: past})
        past, begin = step[name], end
        if piece is not source:
            yield step.logits


def assert_writes_alike(theirs: Any, max_tokens: int = 12) -> None:
    """Greedy writing is equal for new weights until some rows have come to END and some have not."""
    lengths: set[int] = set()
    for seed in range(40):
        lengths |= _written_alike(randomised(theirs, seed), 16, max_tokens)
        if max_tokens in lengths and len(lengths) > 1:
            return
    raise AssertionError(f"all rows were equally long: {lengths}")


@torch.no_grad()
def _written_alike(theirs: Any, rows: int, max_tokens: int) -> set[int]:
    """``generate()`` of theirs, of a decoder after ``[source, BOS]``, equals ours, END left out -> lengths."""
    config = theirs.config
    source, mask, _ = batch(config.vocab_size, rows, 6, "left", seed=4)
    prompt, present, cached, skipped = source, mask, True, 1
    if config.is_encoder_decoder:
        cached = config.num_decoder_layers <= config.num_layers  # else their own cache is too short
    else:
        prompt = torch.cat([source, torch.full((rows, 1), BOS)], 1)
        present, skipped = torch.cat([mask, mask[:, -1:]], 1), prompt.shape[1]
    settings = {"max_new_tokens": max_tokens, "do_sample": False, "use_cache": cached}
    whole = theirs.generate(prompt, attention_mask=present, **settings)
    assert bool((whole[:, skipped - 1] == BOS).all())
    expected = [row[: [*row, END].index(END)] for row in whole[:, skipped:].tolist()]
    allowed_tokens = torch.ones(config.vocab_size, dtype=torch.bool)
    answers = decode_left_to_right(from_transformers(theirs), source, mask, allowed_tokens, Decoding(max_tokens))
    assert [row.tolist() for row in answers] == expected
    return {len(row) for row in expected}


def assert_round_trip_keeps_every_bit(theirs: Any, tied: bool) -> None:
    """Their model comes to us and goes back with the same weights, tied as it was, and comes again the same."""
    ours = from_transformers(theirs)
    assert (ours.head.weight is ours.embedding.weight) == is_tied(theirs) == tied
    again = to_transformers(ours)
    assert_same_weights(again, theirs)
    assert is_tied(again) == tied
    assert_returns_bit_equal(ours)


def _ties(tensors: dict[str, Tensor]) -> list[str]:
    """For each name, the first name of the same tensor."""
    first: dict[int, str] = {}
    return [first.setdefault(id(tensor), name) for name, tensor in tensors.items()]
