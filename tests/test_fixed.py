"""Writing from fixed memory, recorded or not, writes what writing from a growing cache does."""

import contextlib

import pytest
import torch
from recordings import stand_in
from torch import Tensor
from whole_models import perturbed

from architectures import catalogue, generate, recording
from architectures.contract import LIMITS
from architectures.fixed import Fixed
from architectures.generate import Decoding

NAMES = [name for name in catalogue.names() if catalogue.find(name).family != "encoder"]
STEPS = 6
SOURCE = torch.randint(8, LIMITS.vocabulary, (5, LIMITS.source_length), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(SOURCE.shape[1]) < torch.tensor([[SOURCE.shape[1]], [2], [1], [3], [2]])
START = torch.randint(8, LIMITS.vocabulary, (5, 2), generator=torch.Generator().manual_seed(1))


def written(model: object, decoding: Decoding, padded: bool, start: Tensor | None) -> list[list[int]]:
    source, mask = (SOURCE.masked_fill(~MASK, 0), MASK) if padded else (SOURCE, None)
    answers = torch.ones(LIMITS.vocabulary, dtype=torch.bool)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        rows = model.objective.generate(model, source, mask, answers, decoding, generator, start)  # type: ignore[attr-defined]
    return [row.tolist() for row in rows]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Fixed | None]:
    """Has writing be recorded by the stand-in; the list is of what was made of each cache."""
    made: list[Fixed | None] = []
    of = Fixed.of

    def noted(model: object, cache: object, room: int) -> Fixed | None:
        made.append(of(model, cache, room))
        return made[-1]

    monkeypatch.setattr(generate, "LONG", 2)
    monkeypatch.setattr(recording, "MET", 2)
    monkeypatch.setattr(generate, "KEPT", 0.0)  # where rows are dropped, samples are other draws
    monkeypatch.setitem(generate.RECORDS, "cpu", lambda: stand_in)
    monkeypatch.setattr(Fixed, "of", noted)
    return made


@pytest.mark.parametrize("start", [None, START], ids=["", "begun"])
@pytest.mark.parametrize("padded", [False, True], ids=["even", "padded"])
@pytest.mark.parametrize("name", NAMES)
def test_it_writes_the_same(
    name: str, padded: bool, start: Tensor | None, recorded: list[Fixed | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = perturbed(name, 0.3).eval()
    most = STEPS if start is None else STEPS - 2
    for decoding in (Decoding(most), Decoding(most, "sample", temperature=2.0)):
        found = written(model, decoding, padded, start)
        with monkeypatch.context() as patch:
            patch.delitem(generate.RECORDS, "cpu")
            assert written(model, decoding, padded, start) == found
        assert any(len(row) == most for row in found)  # so far that recordings were replayed
    usual = not name.startswith("transformers:")
    assert [fixed is not None for fixed in recorded] == [usual] * 2


@pytest.mark.parametrize("why", ["recording has failed here before", "few steps"])
def test_writing_goes_on_in_the_growing_cache(
    why: str, recorded: list[Fixed | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "few steps":
        monkeypatch.setattr(generate, "LONG", STEPS + 1)
    else:
        monkeypatch.setattr(recording.CudaGraphs, "work", False)
        monkeypatch.setitem(generate.RECORDS, "cpu", recording.CudaGraphs)
    written(perturbed("decoder", 0.3).eval(), Decoding(STEPS), False, None)
    assert not recorded


def test_steps_are_replayed(recorded: list[Fixed | None], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = Fixed.decode
    monkeypatch.setattr(Fixed, "decode", lambda *given: decoded.append(1) or decode(*given))
    answers = torch.ones(LIMITS.vocabulary, dtype=torch.bool)
    answers[1:8] = False  # END is none: all is written to the end
    model = perturbed("decoder", 0.3).eval()

    def never(step: object, before: object) -> object:
        raise RuntimeError("no")

    for record in (stand_in, never):
        monkeypatch.setitem(generate.RECORDS, "cpu", lambda record=record: record)
        decoded.clear()
        told = pytest.warns(UserWarning, match="RuntimeError: no;") if record is never else contextlib.nullcontext()
        with torch.no_grad(), told:
            generate.left_to_right(model, SOURCE, None, answers, Decoding(STEPS))
        replays = len(decoded)
        # one step is from the growing cache, two are plain, one is recorded (the step, the recording, the trial)
        assert replays == STEPS - 1 + (2 if record is stand_in else 0)


@pytest.mark.parametrize("other", ["decode", "attention"])
def test_what_writes_in_its_own_way_goes_on_to(other: str, recorded: list[Fixed | None]) -> None:
    model = perturbed("decoder", 0.3).eval()
    if other == "decode":
        kind = type(model)
        model.__class__ = type("Other", (kind,), {"decode": lambda self, *given: kind.decode(self, *given)})
    else:
        attention = model.stack.blocks[0].attention
        kind = type(attention)
        attention.__class__ = type("Other", (kind,), {"forward": lambda self, *given: kind.forward(self, *given)})
    written(model, Decoding(STEPS), False, None)
    assert recorded == [None]
