"""Tasks end to end on tiny files: preparing, reusing, mending, measuring and the classical rows."""

import math
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archbench.tasks.base.dataset import SPLITS
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import END, UNK
from archbench.tasks.base.values import Examples, Outputs, Prepared, Score, TaskConfig
from archbench.tasks.baselines import ngram
from archbench.tasks.data import prepare
from archbench.tasks.kinds import registry
from archbench.tasks.kinds.task import bar, baselines, decoding, measure
from archbench.tasks.kinds.task import prepare as prepare_task

COLOURS = {"red": "rot", "green": "grün", "blue": "blau", "black": "schwarz"}
THINGS = {"cat": "Katze", "house": "Haus", "tree": "Baum", "river": "Fluss", "door": "Tür"}


def rows(count: int, seed: int) -> list[tuple[str, str, str]]:
    """(English, German, label) of random phrases."""
    chosen = random.Random(seed)
    result = []
    for _ in range(count):
        colour, thing, size = chosen.choice(list(COLOURS)), chosen.choice(list(THINGS)), chosen.randint(1, 99)
        result.append((f"{size} {colour} {thing}s", f"{size} mal {THINGS[thing]}, {COLOURS[colour]}", colour))
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count, seed in (("train", 300, 0), ("validation", 40, 1), ("test", 40, 2)):
        lines = ["en\tde\tcolour", *("\t".join(row) for row in rows(count, seed))]
        (tmp_path / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        text = "\n".join(f"{a} = {b}." for a, b, _ in rows(count, seed))
        (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    return tmp_path


def config(kind: str, folder: Path, **changes: Any) -> TaskConfig:
    suffix = "txt" if kind == "generation" else "tsv"
    columns = {
        "generation": {},
        "classification": {"text": "en", "label": "colour"},
        "translation": {"source": "en", "target": "de"},
        "summarization": {"text": "en", "summary": "de"},
        "pairs": {"better": "en", "worse": "de"},
    }
    built_in = {"memorization": "random-strings:300", "skill": "skill:copy,length=4,shortest=4"}
    files = {split: f"{split}.{suffix}" for split in SPLITS}
    if kind == "pairs":
        files |= {split: f"{split}.txt" for split in ("train", "validation")}
    base = TaskConfig(
        kind=kind,
        name="tiny",
        data=built_in.get(kind, files),
        columns=columns.get(kind, {}),
        tokenizer="word" if kind == "skill" else "bpe",
        vocabulary=320,
        source_length=16,
        target_length=1 if kind == "classification" else 24,
        test_examples=30,
        folder=str(folder),
    )
    return replace(base, **changes)


def prepared(kind: str, folder: Path, **changes: Any) -> Prepared:
    return prepare_task(config(kind, folder, **changes), folder / "cache")


def outputs(task: Prepared, examples: Examples, answers: list[str], answered: int | None = None) -> Outputs:
    """What a model that gives every token probability 1/e and answers so would hand in."""
    count = len(examples)
    kept = answers[: count if answered is None else answered]
    return Outputs(
        sources=[examples.source_text(i) for i in range(count)],
        references=[examples.target_text(i) for i in range(count)],
        answers=kept,
        nats=examples.target_lengths.astype(np.float64),
        tokens=examples.target_lengths,
        bytes=examples.target_bytes,
        answer_ids=[np.array(task.tokenizer.encode(answer), np.int32) for answer in kept],
    )


@pytest.mark.parametrize(
    ("kind", "tokenizer"),
    [(kind.name, tokenizer) for kind in registry.BUILTIN.values() for tokenizer in kind.tokenizers],
)
def test_targets_use_tokens_that_answers_may_use(kind: str, tokenizer: str, folder: Path) -> None:
    task = prepared(kind, folder, tokenizer=tokenizer, source_length=12, target_length=1 if kind[0] == "c" else 40)
    for examples in (task.train, task.validation, task.test):
        for index in range(len(examples)):
            example = examples[index]
            assert task.allowed_tokens[example.target].all()
            assert (example.target[-1] == END) == (task.ends and not (kind == "pairs" and examples is task.test))
            assert len(example.source) <= 12
    assert not task.allowed_tokens[[0, 1, 3]].any()
    assert task.allowed_tokens[END] == task.ends == (kind != "classification")
    assert task.allowed_tokens[UNK] == (kind != "classification" and tokenizer in ("char", "word"))


def test_whole_windows_have_no_source_and_no_end(folder: Path) -> None:
    task = prepared("generation", folder, source_length=0, target_length=20)
    assert not task.ends
    assert not task.allowed_tokens[END]
    assert len(task.train[0].source) == 0
    assert len(task.train[0].target) == 20


def test_test_examples_are_the_same_subset_for_all(folder: Path) -> None:
    few, more = (prepared("translation", folder, test_examples=count) for count in (10, 1000))
    assert len(few.test) == 10
    assert len(more.test) == 40
    assert [few.test.source_text(i) for i in range(10)] == [more.test.source_text(i) for i in range(10)]
    assert few.digest != more.digest


def test_answers_for_text_come_from_what_was_given_not_from_tokens(folder: Path) -> None:
    task = prepared("translation", folder, tokenizer="word", vocabulary=40)
    all_pairs = {(a, b) for a, b, _ in rows(40, 2)}
    pairs = {(task.test.source_text(i), task.test.target_text(i)) for i in range(len(task.test))}
    assert pairs <= all_pairs
    assert task.notes["test_unknown_tokens"] > 0


@pytest.mark.parametrize("kind", registry.BUILTIN)
def test_a_second_time_reads_what_the_first_wrote(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(kind, folder)
    messages: list[str] = []
    monkeypatch.setattr("archbench.tasks.data.sources.load", lambda *args, **options: pytest.fail("loaded again"))
    second = prepare_task(config(kind, folder), folder / "cache", messages.append)
    assert second.digest == first.digest
    assert second.tokenizer.digest == first.tokenizer.digest
    assert second.notes == first.notes
    assert not messages
    assert [second.train[i].target.tolist() for i in range(5)] == [first.train[i].target.tolist() for i in range(5)]


def key(task: TaskConfig) -> str:
    return prepare.key(task, registry.of(task), registry.read_as(task))


def test_changed_data_and_settings_are_encoded_anew_and_moved_files_are_not(folder: Path, tmp_path: Path) -> None:
    first = config("translation", folder)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for split in SPLITS:
        shutil.copy(folder / f"{split}.tsv", moved / f"copy-{split}.tsv")
    names: dict[str, str | list[str]] = {split: f"copy-{split}.tsv" for split in SPLITS}
    assert key(replace(first, folder=str(moved), data=names, name="other")) == key(first)
    keys = [key(first), *(key(replace(first, **{k: v})) for k, v in CHANGES.items())]
    with (folder / "train.tsv").open("a") as file:
        file.write("1 red tree\t1 mal Baum, rot\tred\n")
    keys.append(key(first))
    assert len(set(keys)) == len(keys)


CHANGES: dict[str, Any] = {"vocabulary": 321, "tokenizer": "char", "source_length": 15, "target_length": 23}


@pytest.mark.fault("data that change while they are read", "one line; no mixture is kept")
def test_data_that_change_while_they_are_read_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = prepare.write

    def late(*arguments: Any) -> None:
        write(*arguments)
        with (folder / "train.tsv").open("a") as file:
            file.write("9 red cats\t9 mal Katze, rot\tred\n")

    monkeypatch.setattr(prepare, "write", late)
    with pytest.raises(InputError, match=r"^tasks\.tiny\.data: changed while it was read; run the same command again$"):
        prepare_task(config("translation", folder), folder / "cache", print)
    assert not list((folder / "cache" / "encoded").iterdir())
    monkeypatch.undo()
    assert len(prepare_task(config("translation", folder), folder / "cache", print).train) == 301


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_damaged_encodings_are_made_again(damage: str, folder: Path) -> None:
    first = prepared("translation", folder)
    (tokens,) = (folder / "cache" / "encoded").glob("*/train.tokens")
    raw = tokens.read_bytes()
    tokens.write_bytes(raw[:-2] if damage == "truncate" else raw[:10] + bytes([raw[10] ^ 1]) + raw[11:])
    messages: list[str] = []
    remade = prepare_task(config("translation", folder), folder / "cache", messages.append)
    assert messages
    assert remade.digest == first.digest
    assert tokens.read_bytes() == raw


def test_an_unseen_test_label_stays_and_counts_as_wrong(folder: Path) -> None:
    with (folder / "test.tsv").open("a") as file:
        file.write("3 pink cats\t3 mal Katze, rosa\tpink\n")
    task = prepared("classification", folder, test_examples=100)
    labels = [task.test.target_text(i) for i in range(len(task.test))]
    index = labels.index("pink")
    assert task.notes["test_unseen_labels"] == 1
    assert task.test[index].target.tolist() == [UNK]
    result = outputs(task, task.test, ["red" if label == "pink" else label for label in labels])
    result.nats[index] = math.inf
    scores = {score.metric: score for score in measure(task, result)}
    assert scores["accuracy"].value == pytest.approx(40 / 41)
    assert scores["nll_per_token"].value == 1.0
    assert scores["nll_per_token"].n == 40
    assert all(math.isfinite(row.value) for row in baselines(task))


def test_each_kind_has_its_metrics(folder: Path) -> None:
    likelihood = ["nll_per_token", "perplexity", "bits_per_byte"]
    expected = {
        "generation": [*likelihood, "rouge_l", "repetition", "copied", "distinct_2", "sample_bits_per_byte"],
        "classification": ["accuracy", "macro_f1", "nll_per_token"],
        "translation": ["exact_match", "bleu", "chrf", *likelihood],
        "summarization": ["rouge_1", "rouge_2", "rouge_l", *likelihood],
        "memorization": ["stored_bits", "exact_match", *likelihood],
    }
    for kind, names in expected.items():
        task = prepared(kind, folder)
        right = [task.test.target_text(i) for i in range(len(task.test))]
        scores = {score.metric: score for score in measure(task, outputs(task, task.test, right))}
        assert list(scores) == names
        assert {*registry.BUILTIN[kind].primary} <= {*scores}
        assert all(s.lower <= s.value <= s.upper or s.value == pytest.approx(s.upper) for s in scores.values())
        best = {"accuracy": 1, "macro_f1": 1, "exact_match": 1, "bleu": 100, "chrf": 100}
        best |= dict.fromkeys(("rouge_1", "rouge_2", "rouge_l"), 1)
        assert all(scores[name].value == pytest.approx(best[name]) for name in scores if name in best)
        assert scores["nll_per_token"].value == 1.0


def test_a_bound_is_scored_beside_the_likelihood_and_few_answers_are_enough(folder: Path) -> None:
    task = prepared("translation", folder)
    result = outputs(task, task.test, ["x"] * 100, answered=7)
    scores = {s.metric: s for s in measure(task, replace(result, bound_nats=result.nats * 2))}
    assert scores["bits_per_byte_bound"].value == pytest.approx(2 * scores["bits_per_byte"].value)
    assert (scores["exact_match"].n, scores["exact_match"].value) == (7, 0)
    assert scores["bits_per_byte"].n == len(task.test)
    assert {s.metric for s in measure(task, outputs(task, task.test, []))} == {
        "nll_per_token",
        "perplexity",
        "bits_per_byte",
    }


def test_training_text_is_recognised_as_copied(folder: Path) -> None:
    task = prepared("generation", folder, tokenizer="char", target_length=40)
    training_texts = [task.train.target_text(i) for i in range(5)]
    scores = {s.metric: s.value for s in measure(task, outputs(task, task.test, training_texts))}
    assert scores["copied"] == 1
    unseen = [text[::-1] for text in training_texts]
    assert {s.metric: s.value for s in measure(task, outputs(task, task.test, unseen))}["copied"] == 0


def test_samples_are_scored_without_a_reference_text(folder: Path) -> None:
    def scored(texts: list[str], **changes: Any) -> dict[str, Score]:
        task = prepared("generation", folder, tokenizer="char", target_length=40, **changes)
        return {score.metric: score for score in measure(task, outputs(task, task.test, texts))}

    task = prepared("generation", folder, tokenizer="char", target_length=40)
    plain = [task.test.target_text(i) for i in range(8)]
    shuffled = ["".join(np.random.default_rng(i).permutation(list(text))) for i, text in enumerate(plain)]
    like, unlike = (scored(texts)["sample_bits_per_byte"] for texts in (plain, shuffled))
    assert 0 < like.value < unlike.value
    assert like.lower <= like.value <= like.upper and like.n == 8
    assert "sample_bits_per_byte" in scored(plain, source_length=0)
    assert "sample_bits_per_byte" not in scored([""] * 8)
    (baseline,) = (row for row in baselines(task) if row.metric == "sample_bits_per_byte")
    whole = scored([task.test.target_text(i) for i in range(len(task.test))])["sample_bits_per_byte"]
    assert (baseline.name, baseline.value) == ("test_text", pytest.approx(whole.value))


def test_samples_are_scored_by_text_that_no_model_trains_on(folder: Path) -> None:
    def bits() -> float:
        task = prepared("generation", folder, tokenizer="byte", target_length=24)
        texts = ["every sample is this one"] * 4
        scores = {score.metric: score for score in measure(task, outputs(task, task.test, texts))}
        return scores["sample_bits_per_byte"].value

    before = bits()
    for split in ("train", "test"):
        path = folder / f"{split}.txt"
        path.write_text(path.read_text(encoding="utf-8") + " every sample is this one" * 20, encoding="utf-8")
    assert bits() == pytest.approx(before, rel=0.05)  # the prefix of a sample may be another
    path = folder / "validation.txt"
    path.write_text(path.read_text(encoding="utf-8") + " every sample is this one" * 20, encoding="utf-8")
    assert bits() < before / 2


def test_decoding_fits_the_task(folder: Path) -> None:
    for kind, strategy, tokens in (
        ("generation", "sample", 24),
        ("classification", "greedy", 1),
        ("translation", "greedy", 24),
        ("summarization", "greedy", 24),
        ("memorization", "greedy", 24),
    ):
        chosen = decoding(prepared(kind, folder))
        assert (chosen.strategy, chosen.max_tokens) == (strategy, tokens)
        assert 0 < chosen.count <= 30


@pytest.mark.parametrize(
    ("data", "primary"),
    [
        ("phrases-en-de", ("exact_match",)),
        ("phrases-en-de:5000", ("exact_match",)),
        ("phrases-en-de-hard", ("exact_match",)),
        ("bible-en-de", ("bits_per_byte",)),
        ("multi30k-de-en", ("bits_per_byte", "bleu")),
        ("x.tsv", ("bits_per_byte", "bleu")),
    ],
)
def test_translation_is_judged_by_what_its_data_allow(data: str, primary: tuple[str, ...], folder: Path) -> None:
    assert registry.primary(registry.BUILTIN["translation"], data) == primary


def test_reference_rows_of_each_kind(folder: Path) -> None:
    rows = {
        kind: {(row.name, row.metric): row.value for row in baselines(prepared(kind, folder))}
        for kind in registry.BUILTIN
    }
    labels, text, pairs = rows["classification"], rows["generation"], rows["translation"]
    assert labels["tfidf_logistic", "accuracy"] == 1.0
    assert labels["majority", "accuracy"] < 0.5
    assert labels["majority", "nll_per_token"] == pytest.approx(math.log(4), abs=0.1)
    assert labels["tfidf_logistic", "nll_per_token"] < labels["majority", "nll_per_token"]
    assert 0 < text["ngram", "bits_per_byte"] < text["lzma", "bits_per_byte"] < 8
    assert 0 < pairs["ngram", "bits_per_byte"] < 8
    assert pairs["copy", "exact_match"] == 0
    assert pairs["nearest", "chrf"] > pairs["copy", "chrf"]
    assert {name for name, _ in pairs} == {"copy", "nearest", "ngram", "lzma", "unigram", "bigram"}
    assert rows["memorization"] == {}
    summaries = rows["summarization"]
    assert {name for name, metric in summaries if metric == "rouge_l"} == {"lead", "copy", "nearest"}


def test_the_bar_that_learned_models_are_below_is_in_the_same_bits_for_every_tokenizer(folder: Path) -> None:
    bits = []
    for tokenizer in ("char", "word"):
        task = prepared("translation", folder, tokenizer=tokenizer)
        row, tokens = bar(task), int(task.validation.target_lengths.sum())
        assert (row.name, row.split, row.metric) == ("ngram", "validation", "nll_per_token")
        bits.append(row.value * tokens)
    assert bits[0] == pytest.approx(bits[1]) and bits[0] > 0
    row = bar(prepared("classification", folder))
    assert (row.name, row.split) == ("majority", "validation")
    assert row.value == pytest.approx(math.log(4), abs=0.1)
    assert all(0 < bar(prepared(kind, folder)).value < math.inf for kind in registry.BUILTIN)


def test_the_lead_has_as_many_words_as_training_summaries_have_in_the_median(folder: Path) -> None:
    sources = [f"first{n} second third fourth fifth" for n in range(30)]
    targets = [" ".join(["first", "second", "x", "y", "z"][: 1 + n % 5]) for n in range(30)]
    lines = ["text\tsummary", *(f"{a}\t{b}" for a, b in zip(sources, targets, strict=True))]
    for split in SPLITS:
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "test.tsv").write_text("text\tsummary\nOne, two, three. Four.\tone two three\n")
    rows = baselines(prepared("summarization", folder, columns={}))
    assert {(row.name, row.metric): row.value for row in rows}["lead", "rouge_l"] == 1


def test_the_nearest_is_looked_for_among_a_bounded_amount_of_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = prepared("summarization", folder)
    monkeypatch.setattr("archbench.tasks.baselines.baselines.MEMORY", 20)  # characters: one source or two
    few = {(row.name, row.metric): row.value for row in baselines(task)}
    monkeypatch.undo()
    many = {(row.name, row.metric): row.value for row in baselines(task)}
    assert few["nearest", "rouge_2"] < many["nearest", "rouge_2"]


def test_translation_and_summarization_encode_the_same_pairs_alike(folder: Path) -> None:
    tasks = [prepared(kind, folder) for kind in ("translation", "summarization")]
    first, *others = tasks
    for other in others:
        assert other.tokenizer.to_json() == first.tokenizer.to_json()
        assert (
            (other.allowed_tokens == first.allowed_tokens).all()
            and other.ends == first.ends
            and other.notes == first.notes
        )
        for ours, theirs in (
            (first.train, other.train),
            (first.validation, other.validation),
            (first.test, other.test),
        ):
            assert len(ours) == len(theirs)
            for index in range(len(ours)):
                assert ours[index].source.tolist() == theirs[index].source.tolist()
                assert ours[index].target.tolist() == theirs[index].target.tolist()
        assert decoding(other) == decoding(first)
    measured = [{s.metric: s for s in measure(task, outputs(task, task.test, ["x"] * 30))} for task in tasks]
    rows = [{(row.name, row.metric): row.value for row in baselines(task)} for task in tasks]
    for name in ("nll_per_token", "perplexity", "bits_per_byte"):
        assert len({scores[name] for scores in measured}) == 1
    assert len({(row["ngram", "bits_per_byte"], row["lzma", "bits_per_byte"]) for row in rows}) == 1


@pytest.mark.parametrize("order", [1, 3, 5])
def test_an_ngram_model_gives_every_context_a_mass_of_one(order: int) -> None:
    model = ngram.train_ngram(b"abracadabra, abracadabra!" * 3, order)
    every = [bytes([value]) for value in range(256)]
    for context in (b"", b"a", b"abra", b"zzzz", b"cad\xff"):
        bits = ngram.ngram_bits(model, every, [context] * 256)
        assert np.sum(2.0**-bits) == pytest.approx(1)


def test_ngram_bits_add_up_along_a_text_and_fall_with_training() -> None:
    model = ngram.train_ngram(b"the cat sat on the mat. " * 20)
    whole = ngram.ngram_bits(model, [b"cat sat"], [b"the "])[0]
    parts = ngram.ngram_bits(model, [b"cat", b" sat", b""], [b"the ", b"the cat", b"x"])
    assert whole == pytest.approx(parts.sum())
    assert parts[2] == 0
    assert whole < ngram.ngram_bits(model, [b"qqq qqq"], [b"the "])[0]
    assert ngram.lzma_bits(b"the cat sat on the mat. " * 20, b"the cat sat") < 8 * 11


Spoil = Callable[[Path], dict[str, Any]]


def _one_label(folder: Path) -> dict[str, Any]:
    (folder / "train.tsv").write_text("en\tde\tcolour\na\tb\tred\nc\td\tred\n")
    return {}


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("classification", _one_label, r'tasks\.tiny\.columns: every training example has the label "red"'),
        (
            "generation",
            lambda _: {"target_length": 5000},
            r"tasks\.tiny\.context: 5016 is too long: the train",
        ),
        ("generation", lambda _: {"target_length": 900}, r"the validation split has .* needs"),
        ("translation", lambda _: {"target_length": 2}, r"target_length: 2 excludes all 300 .* longest target has \d+"),
        ("translation", lambda _: {"vocabulary": 100}, r"tasks\.tiny\.vocabulary: 100 is too small for bpe"),
        (
            "translation",
            lambda _: {"columns": {"source": "fr", "target": "de"}},
            r'tiny\.columns: no column "fr"',
        ),
        ("translation", lambda _: {"data": {"train": "trian.tsv"}}, r'tasks\.tiny\.data: no file "trian.tsv"'),
        ("generation", lambda folder: {"data": "shakespere"}, r'tasks\.tiny\.data: .*did you mean "shakespeare"'),
    ],
)
def test_wrong_input_is_named_in_one_line(kind: str, spoil: Spoil, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        prepared(kind, folder, **spoil(folder))
    assert "\n" not in str(error.value)
    assert not list((folder / "cache").glob("encoded/*"))


def test_an_empty_split_is_refused(folder: Path) -> None:
    from archbench.tasks.base.dataset import make_dataset, text_in_memory
    from archbench.tasks.text.arrays import writing

    empty = make_dataset(
        "generation", text_in_memory(""), text_in_memory("a"), text_in_memory("a"), licence="", origin=""
    )
    with pytest.raises(InputError, match="train split is empty"), writing(folder / "out") as writer:
        prepare.write(writer, empty, config("generation", folder), registry.BUILTIN["generation"])
