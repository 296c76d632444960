"""What `archbench inspect` measures inside a run, and that its page shows these numbers."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny_runs import trained, write_data

import archbench
from architectures import catalogue
from architectures.looking import Axis, Layer
from architectures.size import Limits, Size
from reports import inspection as page
from runs import store
from runs.inside import heads, inspection, meaning, stream, subject, writing
from runs.inside.reading import Reading
from tasks.errors import InputError
from tasks.example import BOS, END, MASK

CASES = [
    ("decoder", "turned"),
    ("encoder", "turned"),
    ("encoder-decoder", "turned"),
    ("encoder", "colours"),
    ("decoder", "windows"),
    ("mine.py", "running"),
    ("shared-encoder-decoder", "running"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[tuple[str, str], Path]:
    made: dict[tuple[str, str], Path] = {}
    for architecture, task in CASES:
        place = str(folder / architecture) if architecture.endswith(".py") else architecture
        made[architecture, task] = trained(folder, folder / "tiny", place, task, snapshots=2)
    return made


def found_in(run: Path, out: Path, text: str | None = None) -> dict[str, Any]:
    return dict(json.loads(inspection.inspect(run, text, out, lambda line: None).read_text()))


# Heads ------------------------------------------------------------------------------------------------------------


def reading(weights: Any, queries: list[int], keys: list[int] | None = None) -> Reading:
    """A block with one head and these weights, in which only the named attention is there."""
    at = torch.as_tensor(np.asarray(weights, dtype=np.float64))[None, None]
    block: Any = None
    empty = torch.zeros(1, len(queries), 1)
    layer = Layer("target", 1, block, empty, weights=at) if keys is None else Layer("target", 1, block, empty, cross=at)
    axes: dict[Axis, list[int]] = {axis: queries for axis in get_args(Axis)}
    return Reading((layer,), axes if keys is None else {**axes, "source": keys}, 0)


def mostly(pattern: np.ndarray, causal: bool = False) -> np.ndarray:
    """Weights that put 0.9 of every row where the pattern says, and the rest evenly on what is visible."""
    visible = np.tril(np.ones(pattern.shape)) if causal else np.ones(pattern.shape)
    marked = pattern * visible
    rows = marked.sum(1, keepdims=True)
    weights = np.where(rows > 0, 0.9 * marked / np.maximum(rows, 1), 0.0) + visible * 0.1 / visible.sum(
        1, keepdims=True
    )
    return np.asarray(weights / weights.sum(1, keepdims=True))


TOKENS = [10, 11, 12, 13, 10, 11, 12, 13]
SPECIAL = [10, 11, BOS, 13, 14, END, MASK, 15]


@pytest.mark.parametrize(
    ("name", "pattern", "tokens"),
    [
        ("previous token", np.eye(8, k=-1), list(range(10, 18))),
        ("same token", np.eye(8), list(range(10, 18))),
        ("next token", np.eye(8, k=1), list(range(10, 18))),
        ("first token", np.eye(8)[[0] * 8], list(range(10, 18))),
        ("special token", np.tile(np.isin(SPECIAL, (BOS, END, MASK)).astype(float), (8, 1)), SPECIAL),
        ("induction", np.eye(8, k=-3) * (np.arange(8) >= 4)[:, None], TOKENS),
    ],
)
def test_a_hand_built_head_has_its_role(name: str, pattern: np.ndarray, tokens: list[int]) -> None:
    shares = heads._shares([reading(mostly(pattern), tokens)], 0, "self")
    mine, even = ({key: float(np.max(share[side])) for key, share in shares.items()} for side in (0, 1))
    assert mine[name] >= 0.9 and even[name] < 0.5
    assert heads.role(mine, even) == name


def test_even_attention_has_no_role() -> None:
    for causal in (False, True):
        visible = np.tril(np.ones((8, 8))) if causal else np.ones((8, 8))
        shares = heads._shares([reading(visible / visible.sum(1, keepdims=True), TOKENS)], 0, "self")
        mine, even = ({key: float(np.max(share[side])) for key, share in shares.items()} for side in (0, 1))
        assert mine == pytest.approx(even) and heads.role(mine, even) == "mixed"


def test_a_diagonal_of_cross_attention_is_alignment_whatever_the_lengths() -> None:
    places = np.round(np.arange(4) * 11 / 3).astype(int)
    shares = heads._shares([reading(mostly(np.eye(12)[places]), [5, 6, 7, 8], list(range(20, 32)))], 0, "cross")
    mine, even = ({key: float(np.max(share[side])) for key, share in shares.items()} for side in (0, 1))
    assert heads.role(mine, even) == "alignment"


@pytest.mark.slow
def test_induction_heads_appear_where_sequences_repeat(folder: Path, tmp_path: Path, runs: Any) -> None:
    """Two layers that learn to continue random sequences said twice: only copying what came after last time helps."""
    torch.manual_seed(0)
    model: Any = catalogue.find("decoder").build(Size(64, 4, 2, 128), Limits(40, 16, 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    from architectures.objectives import Pairs

    answers = torch.ones(40, dtype=torch.bool)
    for _ in range(1500):
        half = torch.randint(8, 40, (64, 8), generator=generator)
        whole = half.repeat(1, 2)
        loss = model.objective.loss(model, Pairs(whole, whole), answers, generator, True)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    before = catalogue.find("decoder").build(Size(64, 4, 2, 128), Limits(40, 16, 16))

    def most(one: Any) -> float:
        from architectures import looking

        half = torch.randint(8, 40, (16, 8), generator=torch.Generator().manual_seed(1)).repeat(1, 2)
        found = []
        for row in half:
            with looking.watched(one.eval()) as layers, torch.no_grad():
                one.hidden(row[None], row[None])
            axes: dict[Axis, list[int]] = {axis: [*row.tolist(), *row.tolist()] for axis in get_args(Axis)}
            found.append(Reading(tuple(layers), axes, 16))
        return max(float(np.max(heads._shares(found, place, "self")["induction"][0])) for place in range(2))

    assert most(model) > 0.6 > 0.2 > most(before)


# The whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_every_family_and_kind_can_be_looked_into(runs: dict[Any, Path], case: Any, tmp_path: Path) -> None:
    found = found_in(runs[case], tmp_path)
    assert found["dataset"] == case[1]
    sites = {(head["layer"], head["part"]) for head in found["heads"]}
    assert {(each["layer"], each["part"]) for each in found["maps"]} == sites
    for each in found["maps"]:
        for head in each["weights"]:
            assert len(head) == len(each["queries"]) and all(len(row) == len(each["keys"]) for row in head)
            np.testing.assert_allclose(np.sum(head, 1), 1, atol=0.01)
    assert all(0 <= share <= 1.001 for head in found["heads"] for share in head["shares"].values())
    assert all(0 <= row["accuracy"] <= 1 for row in found["probes"])
    assert [row["when"] for row in found["snapshots"]][-1] == "as scored" and len(found["snapshots"]) == 3
    assert sum(part["parameters"] for part in found["step"]["parts"]) > found["parameters"]
    drawn = list(page._figures(page.read(tmp_path)))
    assert len({figure.name for figure in drawn}) == len(drawn) >= 6 + len(sites)
    assert all(sentence for sentence in page.context(found).values() if isinstance(sentence, str))


def test_the_page_shows_the_numbers_and_its_figures_hold_them(runs: dict[Any, Path], tmp_path: Path) -> None:
    found = found_in(runs["shared-encoder-decoder", "running"], tmp_path)
    page.write(page.read(tmp_path), tmp_path)
    html = (tmp_path / "index.html").read_text()

    def rows(name: str) -> list[dict[str, str]]:
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    assert [float(row["loss"]) for row in rows("heads")] == pytest.approx([head["loss"] for head in found["heads"]])
    assert [float(row["norm"]) for row in rows("stream")] == pytest.approx([row["norm"] for row in found["norms"]])
    assert [float(row["accuracy"]) for row in rows("probes")] == pytest.approx(
        [row["accuracy"] for row in found["probes"]]
    )
    assert [float(row["after"]) for row in rows("step")] == pytest.approx(
        [row["after"] for row in found["step"]["positions"]]
    )
    assert [float(row["probability"]) for row in rows("next")] == pytest.approx(
        [row["probability"] for row in found["positions"]]
    )
    assert len(rows("embeddings")) == len(found["projection"]["points"])
    for place, each in enumerate(found["maps"], 1):
        weights = [float(row["weight"]) for row in rows(f"attention_{place:02d}_{each['part']}")]
        assert weights == pytest.approx(np.asarray(each["weights"]).ravel().tolist())
    assert f"{found['step']['loss']:.3f}" in html and found["run"] in html
    assert "<script" not in html and "http" not in html.replace("http-equiv", "")


def test_the_same_run_gives_the_same_page(runs: dict[Any, Path], tmp_path: Path) -> None:
    pages = []
    for name in ("one", "other"):
        found_in(runs["decoder", "turned"], tmp_path / name)
        page.write(page.read(tmp_path / name), tmp_path / name)
        pages.append({file.name: file.read_bytes() for file in sorted((tmp_path / name).iterdir())})
    assert pages[0] == pages[1]


def test_next_tokens_have_the_likelihood_that_is_scored(runs: dict[Any, Path]) -> None:
    for case in CASES:
        looked = subject.read(runs[case])
        scores = writing.probabilities(looked, looked.text)
        target = looked.text[1]
        mine = sum(float(scores[place][token]) for place, token in enumerate(target))
        model = looked.run.model
        with torch.no_grad():
            exact = model.objective.log_likelihood(model, subject.batch([looked.text]), looked.run.answers)[0]
        assert mine == pytest.approx(float(exact), rel=1e-3, abs=1e-3), case


def test_rules_of_choosing_give_what_they_promise(runs: dict[Any, Path]) -> None:
    for row in writing.positions(subject.read(runs["decoder", "turned"])):
        rules = {rule: dict(chosen) for rule, chosen in row["rules"].items()}
        likeliest = row["model"][0][0]
        assert rules["greedy"] == {likeliest: pytest.approx(1.0)}
        assert len(rules["top-k 5"]) <= 5 and sum(rules["top-k 5"].values()) == pytest.approx(1, abs=1e-3)
        assert rules["temperature 0.7"][likeliest] >= row["model"][0][1] - 1e-6
        assert set(rules["top-p 0.9"]) <= {token for token, _ in row["model"]} or len(row["model"]) == 5


def test_a_gradient_step_lowers_the_loss_and_is_taken_back(runs: dict[Any, Path]) -> None:
    for case in CASES:
        looked = subject.read(runs[case])
        before = {name: tensor.clone() for name, tensor in looked.run.model.state_dict().items()}
        step = writing.gradient_step(looked)
        assert step["loss_after"] < step["loss"], case
        assert all(torch.equal(before[name], tensor) for name, tensor in looked.run.model.state_dict().items())
        assert all(p.grad is None for p in looked.run.model.parameters())


def test_the_loss_without_a_head_is_a_loss(runs: dict[Any, Path]) -> None:
    """Where the run has exact likelihoods, the whole model's mean loss is the one that the run recorded."""
    looked = subject.read(runs["decoder", "turned"])
    scores = {
        (row["split"], row["metric"]): row["value"]
        for row in store.read_json(runs["decoder", "turned"] / "scores.json")
    }
    losses, lengths = heads.losses(looked, looked.examples), [len(target) for _, target in looked.examples]
    mean = float((losses * torch.tensor(lengths)).sum() / sum(lengths))
    assert mean == pytest.approx(scores["test", "nll_per_token"], rel=1e-3)


# Embeddings and probes --------------------------------------------------------------------------------------------


def planted(alike: float) -> tuple[np.ndarray, list[int], dict[int, str]]:
    """Vectors of 80 tokens, 20 of them in groups of five that have so much in common; frequent ones lie together."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(80, 16))
    vectors[:16] += 1.5  # what is frequent is alike whatever it means
    groups = {token: f"group {token // 20}" for token in range(0, 80, 4)}
    for name in set(groups.values()):
        members = [token for token, group in groups.items() if group == name]
        vectors[members] += alike * generator.normal(size=16)
    return vectors, list(range(80)), groups


def test_similar_embeddings_are_found_where_they_are_planted_and_only_there() -> None:
    found = meaning.similarity(*planted(1.0))
    assert found is not None and found.p < 0.01 and found.within > found.upper
    nothing = meaning.similarity(*planted(0.0))
    assert nothing is not None and nothing.p > 0.05 and nothing.lower <= nothing.within <= nothing.upper


def test_frequency_alone_is_no_similarity() -> None:
    """Groups of frequent tokens have a high cosine here, and so have the tokens that they are compared with."""
    vectors, order, _ = planted(0.0)
    groups = {token: "frequent" for token in range(0, 16, 2)}
    found = meaning.similarity(vectors, order, groups)
    assert found is not None and found.within > 0.3 and found.p > 0.05


def test_too_few_pairs_are_no_test() -> None:
    vectors, order, _ = planted(0.0)
    assert meaning.similarity(vectors, order, {0: "a", 1: "a", 2: "b"}) is None


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    labels = [[int(label) for label in generator.integers(10, 14, 12)] for _ in range(60)]
    told = [np.eye(4)[np.asarray(row) - 10] + 0.1 * generator.normal(size=(12, 4)) for row in labels]
    noise = [generator.normal(size=(12, 4)) for _ in labels]
    (found,) = stream._row("both", "layer 1", "this token", told, labels, [10, 11, 12, 13], 40)
    (nothing,) = stream._row("both", "layer 1", "this token", noise, labels, [10, 11, 12, 13], 40)
    assert found["accuracy"] > 0.95 and abs(nothing["accuracy"] - 0.25) < 0.12 and found["n"] == 20 * 12


# The command ------------------------------------------------------------------------------------------------------


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        archbench.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command_writes_a_page_beside_the_runs(runs: dict[Any, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["encoder", "colours"]
    before = store.changed(run, weights=True)
    assert ended("inspect", str(run), "--text", "blue house 3") == 0
    written = Path(capsys.readouterr().out.strip())
    assert written == run.parent.parent / "inspect" / run.name / "index.html" and "blue" in written.read_text()
    assert store.changed(run, weights=True) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing-like-it"], "no run"),
        (["RUN", "--text", ""], "--text: is empty"),
        (["UNTOLD"], "kept no test examples"),
    ],
)
def test_what_cannot_be_looked_into_is_one_line(
    runs: dict[Any, Path], arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["decoder", "turned"]
    untold = tmp_path / "runs" / run.name
    shutil.copytree(run, untold)
    (untold / "predictions.parquet").unlink()
    store.write_record(untold, store.read_record(run) or {})
    names = {"RUN": str(run), "UNTOLD": str(untold)}
    assert ended("inspect", *(names.get(word, word) for word in arguments), "--out", str(tmp_path / "out")) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("archbench: ")]
    assert len(said) == 1 and says in said[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("file", "file: cannot be written: File exists"),
        ("file/out", "out: cannot be written: Not a directory"),
        ("/proc/out", "/proc/out: cannot be written: No such file"),
        ("", "--out: is empty"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    runs: dict[Any, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    says: str,
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert ended("inspect", str(runs["decoder", "turned"]), "--out", place) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("archbench: ") and says in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_damaged_snapshot_is_named(runs: dict[Any, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["decoder", "turned"], run)
    first = sorted((run / "snapshots").iterdir())[0]
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(InputError, match="snapshot"):
        writing.snapshots(subject.read(runs["decoder", "turned"]), run)


def test_text_from_data_is_shown_and_not_obeyed(runs: dict[Any, Path], tmp_path: Path) -> None:
    found = found_in(
        runs["decoder", "running"] if ("decoder", "running") in runs else runs["mine.py", "running"], tmp_path
    )
    evil = "<script>alert(1)</script>\x1b[2J"
    found["text"]["source_tokens"][0]["token"] = evil
    found["maps"][0]["queries"][0] = evil
    found["positions"][0]["token"] = evil
    found["projection"]["points"][0]["token"] = evil
    page.write(found, tmp_path)
    html = (tmp_path / "index.html").read_text()
    assert "<script" not in html and "\x1b" not in html and "&lt;script&gt;" in html
