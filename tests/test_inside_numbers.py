"""Known answers: each number that `archbench inspect` measures, where it can be had in another way."""

import copy
import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import trained, write_data
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import probes
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
from archbench.architectures.components.positions import Alibi, Learned, NoPositions, RelativeBias, Rotary, Sinusoidal
from archbench.architectures.components.stack import Block
from archbench.architectures.families.size import Limits
from archbench.architectures.objectives.objective import Batch
from archbench.inspection import embeddings, heads, positions, stream, subject, writing
from archbench.inspection.facts import HEADS
from archbench.inspection.pages import drawing, figures
from archbench.tasks.base.example import MASK, SPECIALS
from archbench.tasks.text.tokenizers import Tokenizer, train_tokenizer

FIRST = len(SPECIALS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_data(tmp_path_factory.mktemp("data"))
    return trained(folder, folder / "tiny", "decoder", "turned", snapshots=2)


@pytest.fixture(scope="module")
def inspected(run: Path) -> subject.InspectedRun:
    return subject.read(run)


def around(**parts: Any) -> Any:
    """A subject of which only these are there."""
    return SimpleNamespace(run=SimpleNamespace(**parts), text=([], []))


# Positions --------------------------------------------------------------------------------------------------------


def picture(scheme: nn.Module) -> dict[str, Any]:
    model = nn.Module()
    model.scheme = scheme
    (scheme_data,) = positions.schemes(around(model=model, plan=SimpleNamespace(limits=Limits(40, 20, 20))))
    assert (scheme_data["path"], scheme_data["name"]) == ("scheme", type(scheme).__name__)
    return scheme_data


def test_alibi_is_a_slope_for_each_head() -> None:
    scheme_data = picture(Alibi(4))
    assert scheme_data["kind"] == "bias" and scheme_data["first"] < -10 and len(scheme_data["values"]) == 4
    for slope, values in zip((1 / 4, 1 / 16, 1 / 64, 1 / 256), scheme_data["values"], strict=True):
        assert values == pytest.approx([-slope * abs(scheme_data["first"] + place) for place in range(len(values))])


def test_a_relative_table_is_read_by_distance() -> None:
    scheme = RelativeBias(2, bidirectional=True)
    with torch.no_grad():
        scheme.weight.copy_(torch.arange(32.0)[:, None] + torch.tensor([0.0, 100.0]))
    scheme_data = picture(scheme)
    for head, values in enumerate(scheme_data["values"]):
        near = {distance: values[distance - scheme_data["first"]] for distance in range(-7, 8)}
        expected = {distance: 100 * head + abs(distance) + 16 * (distance > 0) for distance in near}  # near is exact
        assert near == pytest.approx(expected)
    causal = RelativeBias(1, bidirectional=False)
    with torch.no_grad():
        causal.weight.copy_(torch.arange(32.0)[:, None])
    scheme_data = picture(causal)
    assert [scheme_data["values"][0][distance - scheme_data["first"]] for distance in range(-15, 4)] == [
        *range(15, 0, -1),
        0,
        0,
        0,
        0,
    ]


def test_rotary_is_the_cosine_of_distance_times_frequency() -> None:
    scheme_data = picture(Rotary(8))
    assert scheme_data["kind"] == "rotation" and len(scheme_data["values"]) > 40
    for distance, values in enumerate(scheme_data["values"]):
        assert values == pytest.approx([math.cos(distance / 10_000 ** (pair / 4)) for pair in range(4)], abs=1e-5)


def test_sinusoidal_is_sines_beside_cosines_and_their_likeness() -> None:
    scheme_data = picture(Sinusoidal(6))
    every = [
        [turn(place / 10_000 ** (pair / 3)) for pair in range(3) for turn in (math.sin, math.cos)]
        for place in range(len(scheme_data["values"]))
    ]
    np.testing.assert_allclose(scheme_data["values"], every, atol=1e-5)
    np.testing.assert_allclose(scheme_data["alike"], np.asarray(every) @ np.asarray(every).T / 3, atol=1e-5)


def test_learned_vectors_are_the_table() -> None:
    scheme = Learned(10, 30)
    scheme_data = picture(scheme)
    table = scheme.weight.detach()
    np.testing.assert_allclose(scheme_data["values"], table[:, : positions.CHANNELS])
    np.testing.assert_allclose(scheme_data["alike"], F.cosine_similarity(table[:, None], table[None], -1), atol=1e-5)


def test_no_positions_are_no_picture() -> None:
    scheme_data = picture(NoPositions())
    assert scheme_data["kind"] == "none" and "values" not in scheme_data


# Stream, probes, heads --------------------------------------------------------------------------------------------


def test_lengths_of_the_stream_are_those_of_the_states(inspected: subject.InspectedRun) -> None:
    """By plain hooks: the stream in and out of a block, what its feed-forward network adds, and what is left."""
    model, states = inspected.run.model, {}  # type: ignore[var-annotated]
    blocks = [module for module in model.modules() if isinstance(module, Block)]

    def keep(name: str, state: Tensor) -> None:
        states.setdefault(name, []).append(state[0])

    handles: list[Any] = []
    for number, block in enumerate(blocks, 1):
        handles.append(
            block.register_forward_hook(
                lambda _, inputs, result, n=number: (keep(f"in {n}", inputs[0]), keep(f"out {n}", result[0]), None)[2]
            )
        )
        (network,) = (module for module in block.modules() if isinstance(module, FeedForward | GatedFeedForward))
        handles.append(network.register_forward_hook(lambda _, __, result, n=number: keep(f"ff {n}", result)))
    with torch.no_grad():
        for pair in inspected.examples:
            model.hidden(*model.objective.example_inputs(model, subject.batch([pair])))
    for handle in handles:
        handle.remove()

    def mean(states: list[Tensor]) -> float:
        return float(torch.cat([state.norm(dim=-1) for state in states]).mean())

    expected = {("embedding", "stream"): mean(states["in 1"])}
    for number in range(1, len(blocks) + 1):
        before, after, fed = (states[f"{name} {number}"] for name in ("in", "out", "ff"))
        expected[f"layer {number}", "stream"] = mean(after)
        expected[f"layer {number}", "feed-forward"] = mean(fed)
        expected[f"layer {number}", "attention"] = mean([z - x - y for x, y, z in zip(before, fed, after, strict=True)])
    norms = {(row["layer"], row["part"]): row["norm"] for row in stream.norms(inspected)}
    assert norms == pytest.approx(expected, rel=1e-4)


def test_chance_is_the_most_frequent_answer_of_the_fitted_part() -> None:
    """Three of four fitted labels are 10; of those judged two of five are."""
    generator = np.random.default_rng(0)
    labels = [[10, 10, 10, 11] for _ in range(8)] + [[10, 11, 11, 11, 10] for _ in range(4)]
    states = [generator.normal(size=(len(row), 3)) for row in labels]
    (probe,) = stream._row("both", "layer 1", "this token", states, labels, [10, 11], 8)
    assert (probe["chance"], probe["n"], probe["classes"]) == (0.4, 20, 2)


def test_a_layer_is_behind_the_best_by_what_its_examples_say() -> None:
    """Three examples of 2, 1 and 2 tokens: right in 2, 1, 2 and in 0, 1, 1; differences 2, 0, 1, their mean 1."""
    rows = [
        [{"accuracy": 1.0, "n": 5, "right": np.array([2, 1, 2])}],
        [{"accuracy": 0.4, "n": 5, "right": np.array([0, 1, 1])}],
        [],
    ]
    best, other = stream._compared(rows)
    assert best == {"accuracy": 1.0, "n": 5, "behind": 0.0, "behind_error": 0.0}
    assert (other["behind"], other["behind_error"]) == pytest.approx((0.6, 2**0.5 / 5))
    assert stream._compared([[], []]) == []


def test_right_answers_are_counted_by_example() -> None:
    labels = [[10, 11, 99]] * 12
    states = [np.array([[1.0], [-1.0], [0.0]])] * 12
    (probe,) = stream._row("both", "layer 1", "this token", states, labels, [10, 11], 6)
    assert probe["accuracy"] == 1.0 and probe["right"].tolist() == [2.0] * 6 and probe["n"] == 12


def test_a_question_about_a_neighbour_is_asked_of_its_place() -> None:
    tokens = [FIRST, FIRST + 1, 1, FIRST + 2]
    assert stream._shifted(tokens, -1) == [-1, FIRST, FIRST + 1, -1]  # nothing before the first; 1 is special
    assert stream._shifted(tokens, 1) == [FIRST + 1, -1, FIRST + 2, -1]


def test_shares_are_means_over_queries_that_have_such_a_key() -> None:
    """Three tokens, a causal head: rows (1), (0.3, 0.7), (0.2, 0.5, 0.3)."""
    weights = torch.tensor([[[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.2, 0.5, 0.3]]])[None]
    layer = probes.Layer("both", 1, None, torch.zeros(1, 3, 1), weights={"self": weights})  # type: ignore[arg-type]
    reading = SimpleNamespace(layers=(layer,), axes={"both": [9, 8, 7]}, keys=lambda part, layer: [9, 8, 7])
    shares = heads._shares([reading], 0, "self")  # type: ignore[list-item]
    means = {name: (float(observed[0]), even) for name, (observed, even) in shares.items()}
    assert means == {
        "previous token": pytest.approx((0.4, (1 / 2 + 1 / 3) / 2)),
        "same token": pytest.approx((0.5, (1 / 2 + 1 / 3) / 2)),
        "first token": pytest.approx((0.25, (1 / 2 + 1 / 3) / 2)),
    }  # the first query has no choice, no token comes again, none is special, none is seen before it is there


def test_the_rise_of_the_loss_is_that_of_a_model_with_zeros(inspected: subject.InspectedRun) -> None:
    by_head = {(head_effect.layer, head_effect.head): head_effect for head_effect in heads.heads(inspected)}
    intact = heads.losses(inspected, inspected.examples)
    for number, site in enumerate(probes.sites(inspected.run.model), 1):
        attention = site.attention
        for head in range(attention.heads):
            weight = attention.output.weight.detach().clone()
            with torch.no_grad():
                attention.output.weight[:, head * attention.head_dim : (head + 1) * attention.head_dim] = 0
            risen = (heads.losses(inspected, inspected.examples) - intact).numpy()
            with torch.no_grad():
                attention.output.weight.copy_(weight)
            measured = by_head[f"layer {number}", head]
            assert measured.loss == pytest.approx(risen.mean(), abs=1e-5)
            assert measured.error == pytest.approx(risen.std(ddof=1) / math.sqrt(len(risen)), abs=1e-5)


# Embeddings -------------------------------------------------------------------------------------------------------


def letters(text: str) -> tuple[Tokenizer, list[int]]:
    tokenizer = train_tokenizer("char", [text])
    return tokenizer, tokenizer.encode(text)


def test_neighbours_are_the_nearest_by_angle() -> None:
    """Angles of 0, 10, 30 and 70 degrees; how long a vector is does not matter."""
    tokenizer, tokens = letters("abcd")
    vectors = np.zeros((tokenizer.vocabulary, 2))
    for token, angle, length in zip(tokens, (0, 10, 30, 70), (1.0, 9.0, 0.1, 3.0), strict=True):
        vectors[token] = length * np.cos(np.radians(angle)), length * np.sin(np.radians(angle))
    neighbours = {
        row["token"]: row["neighbours"] for row in embeddings.neighbours(around(tokenizer=tokenizer), vectors, tokens)
    }
    near = {"a": [("b", 10), ("c", 30), ("d", 70)], "c": [("b", 20), ("a", 30), ("d", 40)]}
    for token, others in near.items():
        assert [name for name, _ in neighbours[token]] == [name for name, _ in others]
        assert [cosine for _, cosine in neighbours[token]] == pytest.approx(
            [math.cos(math.radians(x)) for _, x in others]
        )


def test_a_projection_keeps_the_two_widest_axes() -> None:
    """Batch of points at 3, 2 and 1 along three axes of five, about a middle that is not the origin."""
    tokenizer, tokens = letters("abcdef")
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    vectors = np.full((tokenizer.vocabulary, 5), 7.0)
    for place, token in enumerate(tokens):
        vectors[token] += (3 - place // 2) * (-1) ** place * rotation[place // 2]
    projection = embeddings.projection(around(tokenizer=tokenizer), vectors, tokens)
    assert projection["share"] == pytest.approx((9 + 4) / (9 + 4 + 1))
    assert [point["token"] for point in projection["points"]] == list("abcdef")
    at = np.array([(point["x"], point["y"]) for point in projection["points"]])
    np.testing.assert_allclose(np.abs(at), [[3, 0], [3, 0], [0, 2], [0, 2], [0, 0], [0, 0]], atol=1e-9)
    np.testing.assert_allclose(at[0::2], -at[1::2], atol=1e-9)


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_characters_are_alike_by_kind_and_are_no_words(kind: str) -> None:
    text = "aAiIoObB17.,"
    tokenizer = train_tokenizer(kind, [text])
    groups = {
        tokenizer.decode([token]): group
        for token, group in embeddings.groups_of(tokenizer, tokenizer.encode(text)).items()
    }
    kinds = {"vowels": "aAiIoO", "consonants": "bB", "digits": "17", "punctuation": ".,"}
    assert groups == {letter: name for name, members in kinds.items() for letter in members}


def test_a_token_that_cannot_be_shown_has_its_id() -> None:
    """A control character is no XML: a figure that named it could not be drawn."""
    tokenizer = train_tokenizer("byte", ["a\x01 \n\t\x7f"])
    shown = [subject.spelled(tokenizer, token) for token in tokenizer.encode("a\x01 \n\t\x7f")]
    control, delete = tokenizer.encode("\x01\x7f")
    assert shown == ["a", f"#{control}", "·", "⏎", "⇥", f"#{delete}"]


def test_a_letter_is_a_word_only_behind_a_blank() -> None:
    tokenizer = train_tokenizer("word", ["a the A I he we 3 7 i a, an"], 60)
    texts = {" the": "articles", " an": "articles", " a": "articles", " A": "articles", " I": "pronouns"}
    texts |= {" he": "pronouns", " we": "pronouns", " i": "pronouns", " 3": "digits", " 7": "digits"}
    groups = {
        tokenizer.decode([token]): group for token, group in embeddings.groups_of(tokenizer, tokenizer.text_ids).items()
    }
    assert groups == texts and "a" in (tokenizer.decode([token]) for token in tokenizer.text_ids)
    pieces = train_tokenizer("bpe", ["banana kiwi"], 300)
    assert not set(embeddings.groups_of(pieces, pieces.text_ids).values()) & {
        "articles",
        "pronouns",
        *embeddings.LETTERS,
    }


def test_names_of_dots_cover_neither_each_other_nor_other_dots() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 60)) * 40
    names = ["n" * int(length) for length in generator.integers(1, 9, 60)]
    offsets = drawing.named(x, y, names)
    boxes = {
        place: (x[place] + a - 4 * len(names[place]) / 2, x[place] + a + 4 * len(names[place]) / 2, y[place] + b)
        for place, (a, b) in offsets.items()
    }
    assert 10 < len(offsets) < 60  # some have room, some have none
    for place, (left, right, level) in boxes.items():
        others = [box for other, box in boxes.items() if other != place and abs(box[2] - level) < 8]
        assert not any(left < box[1] and box[0] < right for box in others)
        assert not any(left < x[i] < right and abs(y[i] - level) < 4 for i in range(60))
    far = drawing.named(np.arange(5) * 200.0, np.zeros(5), names[:5])
    assert len(far) == 5  # with room enough all have a name


# Writing ----------------------------------------------------------------------------------------------------------


def likelihoods(inspected: subject.InspectedRun, pair: subject.Pair) -> Tensor:
    """log p (t, v) of every token at every position of a decoder's target, as the likelihood of targets gives it."""
    model, allowed_tokens = inspected.run.model, inspected.run.allowed_tokens
    rows = []
    for place in range(len(pair[1])):
        prefix = pair[1][:place]
        every = torch.tensor([[*prefix, token] for token in range(len(allowed_tokens))])
        source = torch.tensor([pair[0]]).expand(len(allowed_tokens), -1)
        with torch.no_grad():
            extended = model.objective.log_likelihood(model, Batch(source, every), allowed_tokens)[0]
            before = 0.0
            if prefix:
                prefix_batch = Batch(source[:1], torch.tensor([prefix]))
                before = float(model.objective.log_likelihood(model, prefix_batch, allowed_tokens)[0])
        rows.append(extended - before)
    return torch.stack(rows)


def test_positions_are_what_the_likelihood_says(inspected: subject.InspectedRun) -> None:
    scores, tokenizer = likelihoods(inspected, inspected.text), inspected.run.tokenizer
    for place, (row, score) in enumerate(zip(writing.positions(inspected), scores, strict=True)):
        p, token = score.exp(), inspected.text[1][place]
        assert (row["place"], row["token"]) == (place + 1, subject.spelled(tokenizer, token))
        assert row["probability"] == pytest.approx(float(p[token]), abs=1e-4)
        assert row["entropy"] == pytest.approx(float(torch.special.entr(p).sum()), abs=1e-3)
        assert [value for _, value in row["model"]] == pytest.approx(p.topk(5).values.tolist(), abs=1e-4)
        assert row["model"][0][0] == subject.spelled(tokenizer, int(p.argmax()))


def test_rules_of_choosing_give_what_they_promise(
    inspected: subject.InspectedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tokens with known probabilities: an entropy and four rules, each by hand."""
    probabilities = torch.tensor([0.4, 0.25, 0.15, 0.08, 0.06, 0.03, 0.02, 0.01])
    scores = torch.full((1, inspected.run.plan.vocabulary), float("-inf"))
    scores[0, FIRST : FIRST + 8] = probabilities.log()
    monkeypatch.setattr(writing, "probabilities", lambda subject, pair: scores)
    names = [subject.spelled(inspected.run.tokenizer, FIRST + place) for place in range(8)]
    short = SimpleNamespace(run=inspected.run, text=([], [FIRST + 2]))
    (row,) = writing.positions(short)  # type: ignore[arg-type]
    assert row["entropy"] == pytest.approx(-sum(p * math.log(p) for p in probabilities.tolist()))
    assert row["probability"] == pytest.approx(0.15)
    sharp = (probabilities.log() / 0.7).softmax(-1)
    expected = {
        "greedy": [1.0],
        "temperature 0.7": sharp[:5].tolist(),
        "top-k 5": (probabilities[:5] / probabilities[:5].sum()).tolist(),
        "top-p 0.9": (probabilities[:5] / 0.94).tolist(),  # four hold 0.88
    }
    assert set(row["rules"]) == set(expected)
    for rule, values in expected.items():
        assert [name for name, _ in row["rules"][rule]] == names[: len(values)]
        assert [value for _, value in row["rules"][rule]] == pytest.approx(values, abs=1e-5)


def test_rules_hold_on_what_a_model_gives(inspected: subject.InspectedRun) -> None:
    scores = likelihoods(inspected, inspected.text)
    for row, score in zip(writing.positions(inspected), scores, strict=True):
        p = score.exp().sort(descending=True).values
        rules = {rule: [value for _, value in chosen] for rule, chosen in row["rules"].items()}
        assert rules["top-k 5"] == pytest.approx((p[:5] / p[:5].sum()).tolist(), abs=1e-4)
        fewest = int((p.cumsum(0) < 0.9).sum()) + 1
        assert rules["top-p 0.9"] == pytest.approx((p[: min(fewest, 5)] / p[:fewest].sum()).tolist(), abs=1e-4)
        assert rules["temperature 0.7"] == pytest.approx((p.log() / 0.7).softmax(-1)[:5].tolist(), abs=1e-4)


@pytest.mark.parametrize("case", ["recorded", "second in line", "steep"])
def test_one_step_is_one_step_of_gradient_descent(inspected: subject.InspectedRun, case: str) -> None:
    """Done again on a copy with an optimizer of torch, on the loss as it is written in books; no step leaps too far."""
    if case == "steep":
        model = copy.deepcopy(inspected.run.model)
        with torch.no_grad():
            model.head.weight.mul_(8)
        inspected = dataclasses.replace(inspected, run=dataclasses.replace(inspected.run, model=model))
    if case == "second in line":  # one step changes a guess
        second = writing.probabilities(inspected, inspected.text).topk(2).indices[:, 1].tolist()
        inspected = dataclasses.replace(inspected, text=(inspected.text[0], second))
    step, tokenizer = writing.gradient_step(inspected), inspected.run.tokenizer
    model, (source, target) = copy.deepcopy(inspected.run.model), inspected.text
    right = torch.tensor(target)

    def scores() -> Tensor:
        inputs = model.objective.example_inputs(model, Batch(torch.tensor([source]), right[None]))
        return F.log_softmax(model(*inputs)[0].masked_fill(~inspected.run.allowed_tokens, float("-inf")), -1)

    scores_before = scores()
    F.nll_loss(scores_before, right).backward()
    before = scores_before.detach()
    weights = [p for p in model.parameters() if p.grad is not None]
    size, slope = (
        math.sqrt(sum(float(x.detach().pow(2).sum()) for x in tensors))
        for tensors in (weights, [p.grad for p in weights])
    )
    loss = float(F.nll_loss(before, right))
    rate = min(0.01 * size / slope, loss / 2 / slope**2)
    torch.optim.SGD(weights, lr=rate).step()
    after = scores().detach()
    assert (step["weights"], step["gradient"]) == pytest.approx((size, slope), rel=1e-3)
    assert step["rate"] == pytest.approx(rate, rel=1e-3)
    assert step["share"] == pytest.approx(rate * slope / size, rel=1e-3) and (step["share"] < 0.0099) == (
        case != "recorded"
    )
    assert step["loss"] == pytest.approx(loss, rel=1e-4) and step["loss_after"] < step["loss"]
    assert step["loss_after"] == pytest.approx(float(F.nll_loss(after, right)), rel=1e-3)
    assert case != "second in line" or any(row["guess"] != row["guess_after"] for row in step["positions"])
    for place, row in enumerate(step["positions"]):
        assert (row["place"], row["token"]) == (place + 1, subject.spelled(tokenizer, target[place]))
        assert row["guess"] == subject.spelled(tokenizer, int(before[place].argmax()))
        assert row["guess_after"] == subject.spelled(tokenizer, int(after[place].argmax()))
        assert row["before"] == pytest.approx(float(before[place, target[place]].exp()), abs=1e-4)
        assert row["after"] == pytest.approx(float(after[place, target[place]].exp()), abs=1e-3)
    parts = {part["part"]: part for part in step["parts"]}
    assert math.sqrt(sum(part["gradient"] ** 2 for part in parts.values())) == pytest.approx(slope, rel=1e-3)
    assert sum(part["parameters"] for part in parts.values()) == sum(p.numel() for p in model.parameters())


def test_snapshots_are_the_answers_of_the_kept_weights(inspected: subject.InspectedRun, run: Path) -> None:
    """Each row against a model that is loaded with those weights alone."""
    rows, tokenizer = writing.snapshots(inspected, run), inspected.run.tokenizer
    files = sorted((run / "snapshots").iterdir())
    states = [load_file(file) for file in files] + [inspected.run.model.state_dict()]
    assert [row["when"] for row in rows] == [*(f"step {int(file.stem):,}" for file in files), "as scored"]
    model, right = copy.deepcopy(inspected.run.model), inspected.text[1][0]
    last = likelihoods(inspected, (inspected.text[0], [right]))[0].topk(5).indices.tolist()
    watched = [*last, *([] if right in last else [right])]
    assert len({row["loss"] for row in rows[:-1]}) == len(files)
    for row, state in zip(rows, states, strict=True):
        model.load_state_dict(state)
        then: Any = SimpleNamespace(run=SimpleNamespace(model=model, allowed_tokens=inspected.run.allowed_tokens))
        first = likelihoods(then, (inspected.text[0], [right]))[0].exp()
        assert [entry["token"] for entry in row["watched"]] == [subject.spelled(tokenizer, token) for token in watched]
        assert [entry["right"] for entry in row["watched"]] == [token == right for token in watched]
        probabilities = [entry["probability"] for entry in row["watched"]]
        assert probabilities == pytest.approx(first[watched].tolist(), abs=1e-4)
        assert [value for _, value in row["first"]] == pytest.approx(first.topk(5).values.tolist(), abs=1e-4)
        pairs = Batch(torch.tensor([inspected.text[0]]), torch.tensor([inspected.text[1]]))
        with torch.no_grad():
            nats = -float(model.objective.log_likelihood(model, pairs, inspected.run.allowed_tokens)[0])
        assert row["loss"] == pytest.approx(nats / len(inspected.text[1]), rel=1e-4)
        one_by_one = []
        for source, target in inspected.examples[:HEADS]:
            alone = Batch(torch.tensor([source]), torch.tensor([target]))
            with torch.no_grad():
                nats = -float(model.objective.log_likelihood(model, alone, inspected.run.allowed_tokens)[0])
            one_by_one.append(nats / len(target))
        assert row["mean_loss"] == pytest.approx(np.mean(one_by_one), rel=1e-4)


def test_hidden_cells_are_numbered_where_there_are_several() -> None:
    assert figures._numbered(["a", "<mask>", "b", "<mask>"]) == ["a", "<mask> 1", "b", "<mask> 2"]
    assert figures._numbered(["a", "<mask>"]) == ["a", "<mask>"]
    assert SPECIALS[MASK] == figures.HIDDEN
