"""The user's files and the hub: right splits, nothing lost or shared, and every mistake named in one line."""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archbench.tasks.base.dataset import CHUNK, Dataset, Table, Text, content_digest, text_in_memory
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.groups import components, sides
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.data import files, hub, prepare, sources
from archbench.tasks.kinds.registry import BUILTIN


def silent(line: str) -> None:
    """Progress that nobody reads."""


def load(kind: str, data: sources.Data, folder: Path, **options: object) -> Dataset:
    """The data of a task called ``mine`` beside an experiment in ``folder``."""
    return sources.load(BUILTIN[kind], data, folder / "cache", silent, folder=folder, where="tasks.mine", **options)  # type: ignore[arg-type]


def tables(data: Dataset) -> list[Table]:
    """The three splits of pairs."""
    splits = [data.train, data.validation, data.test]
    assert all(isinstance(split, Table) for split in splits)
    return [split for split in splits if isinstance(split, Table)]


def texts(data: Dataset) -> list[str]:
    """The three splits of running text, in full."""
    splits = [data.train, data.validation, data.test]
    for split in splits:
        assert isinstance(split, Text)
        assert split.bytes == len("".join(split.chunks()).encode())
    return ["".join(split.chunks()) for split in splits if isinstance(split, Text)]


def pairs(splits: list[Table]) -> list[tuple[str, str]]:
    """All pairs of all splits."""
    return sorted(pair for table in splits for pair in zip(table.sources, table.targets, strict=True))


# Running text ---------------------------------------------------------------------------------------------------


def test_text_is_split_contiguously_from_its_end_at_line_ends(tmp_path: Path) -> None:
    whole = "".join(f"line {n} ä\n" for n in range(5000))
    (tmp_path / "input.txt").write_text(whole, encoding="utf-8")
    train, validation, test = texts(load("generation", "input.txt", tmp_path))
    assert train + validation + test == whole
    assert all(part.endswith("\n") for part in (train, validation, test))
    assert len(validation) == pytest.approx(0.05 * len(whole), abs=20)
    assert len(test) == pytest.approx(0.05 * len(whole), abs=20)


def test_text_of_one_long_line_is_split_where_it_must_be(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("ab" * 50_000)
    parts = texts(load("generation", "input.txt", tmp_path))
    assert list(map(len, parts)) == [90_000, 5_000, 5_000]


def test_text_with_own_splits_and_a_missing_test(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} {n}\n" for n in range(1000)))
    data = {"train": "a.txt", "validation": "b.txt"}
    train, validation, test = texts(load("generation", data, tmp_path))
    assert train + test == (tmp_path / "a.txt").read_text()
    assert validation == (tmp_path / "b.txt").read_text()
    assert len(test) == pytest.approx(0.05 * len(train + test), abs=10)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "cp1252"])
def test_encodings_marks_and_line_ends_come_to_the_same_text(tmp_path: Path, encoding: str) -> None:
    whole = "".join(f"Zeile {n} über\n" for n in range(2000))
    (tmp_path / "plain.txt").write_text(whole, encoding="utf-8")
    (tmp_path / "other.txt").write_bytes(whole.replace("\n", "\r\n").encode(encoding))
    options = {} if encoding.startswith("utf-8") else {"encoding": encoding}
    assert (
        load("generation", "other.txt", tmp_path, **options).digest == load("generation", "plain.txt", tmp_path).digest
    )


def test_lines_seen_in_train_are_counted(tmp_path: Path) -> None:
    long = "a line of running text that is long enough to count\n"
    (tmp_path / "a.txt").write_text(long * 2 + "short\n" * 50)
    (tmp_path / "b.txt").write_text(long * 3 + "short\nanother line that is long enough, seen nowhere else\n")
    data = load("generation", {"train": "a.txt", "validation": "b.txt", "test": "b.txt"}, tmp_path)
    assert data.notes["test_lines_seen_in_train"] == 3


def test_long_text_is_read_in_chunks(tmp_path: Path) -> None:
    line = "words " * 20 + "\n"
    (tmp_path / "input.txt").write_text(line * 40_000)
    train = load("generation", "input.txt", tmp_path).train
    assert isinstance(train, Text)
    sizes = [len(chunk) for chunk in train.chunks()]
    assert len(sizes) > 3 and max(sizes) <= CHUNK
    assert all(chunk.endswith("\n") for chunk in train.chunks())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    block = "".join(f"some words of line {n}\n" for n in range(40_000))
    with (tmp_path / "input.txt").open("w") as file:
        for _ in range(300):
            file.write(block)
    code = (
        "import resource, sys; from pathlib import Path; from archbench.tasks.data import sources\n"
        "from archbench.tasks.kinds.registry import BUILTIN\n"
        "sources.load(BUILTIN['generation'], 'input.txt', Path('c'), print, folder=sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300  # MB


@given(st.lists(st.text(st.sampled_from("ab \nä"), max_size=30), max_size=20), st.integers(1, 12))
def test_chunks_keep_every_character(documents: list[str], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("archbench.tasks.base.dataset.CHUNK", size)
        chunks = list(text_in_memory(*documents).chunks())
    assert "".join(chunks) == "".join(documents)
    assert all(0 < len(chunk) <= size for chunk in chunks)


def test_digest_depends_on_content_alone() -> None:
    assert content_digest(text_in_memory("ab", "c")) == content_digest(text_in_memory("abc"))
    assert content_digest(text_in_memory("abc"), text_in_memory("")) != content_digest(
        text_in_memory("ab"), text_in_memory("c")
    )
    assert content_digest(Table(["ab"], ["c"])) != content_digest(Table(["a"], ["bc"]))


# Tables ---------------------------------------------------------------------------------------------------------

ROWS = [(f"text {n}", "odd" if n % 2 else "even") for n in range(200)]


def write(path: Path, rows: list[tuple[str, str]], names: tuple[str, str] = ("text", "label")) -> str:
    """A table in the form that the suffix says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    else:
        mark = {".csv": ",", ".tsv": "\t"}[path.suffix]
        path.write_text("".join(mark.join(row) + "\n" for row in [names, *rows]))
    return path.name


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_tables_in_any_form_give_the_same_data(tmp_path: Path, suffix: str) -> None:
    name = write(tmp_path / f"data{suffix}", ROWS)
    splits = tables(load("classification", name, tmp_path))
    assert pairs(splits) == sorted(ROWS)
    assert [len(table) for table in splits] == [180, 10, 10]


def test_named_columns_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,said,class\n1,"x, ""y""",a\n2,"two\nlines",b\n')
    data = {split: "a.csv" for split in ("train", "validation", "test")}
    splits = tables(load("classification", data, tmp_path, columns={"text": "said", "label": "class"}))
    assert list(zip(splits[0].sources, splits[0].targets, strict=True)) == [('x, "y"', "a"), ("two\nlines", "b")]


def test_tab_separated_text_may_hold_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes('\ufefftext\tlabel\r\n"Go" she said\tx\r\n"\ty\r\n'.encode())
    data = {split: "a.tsv" for split in ("train", "validation", "test")}
    assert tables(load("classification", data, tmp_path))[0].sources == ['"Go" she said', '"']


def test_empty_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    name = write(tmp_path / "a.tsv", [("a", "x"), ("", "x"), ("b", " "), ("c", "y")])
    with (tmp_path / name).open("a") as file:
        file.write("\n")
    data = load("classification", {split: name for split in ("train", "validation", "test")}, tmp_path)
    assert tables(data)[0].sources == ["a", "c"]
    assert data.notes["empty_rows_dropped"] == 9 and data.notes["test_sources_seen_in_train"] == 2


def test_parallel_files_translate_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_text("".join(f"Satz {n}\u2028mehr\n" for n in range(100)), encoding="utf-8")
    (tmp_path / "a.en").write_text("".join(f"Sentence {n}\r\n" for n in range(100)))
    splits = tables(load("translation", {"train": ["a.de", "a.en"]}, tmp_path))
    assert pairs(splits) == sorted((f"Satz {n}\u2028mehr", f"Sentence {n}") for n in range(100))


def test_splitting_off_keeps_identical_rows_together(tmp_path: Path) -> None:
    rows = [(f"text {n % 60}", str(n)) for n in range(300)]
    splits = tables(load("classification", write(tmp_path / "a.csv", rows), tmp_path))
    texts_by_split = [set(table.sources) for table in splits]
    assert (
        not texts_by_split[0] & texts_by_split[1]
        and not texts_by_split[0] & texts_by_split[2]
        and not texts_by_split[1] & texts_by_split[2]
    )
    rows = [(f"source {n // 2}", f"target {(n + 1) // 2 if n % 6 else n}") for n in range(300)]
    for kind in ("translation", "summarization"):
        splits = tables(load(kind, write(tmp_path / f"{kind}.csv", rows, BUILTIN[kind].columns), tmp_path))
        for column in ("sources", "targets"):
            texts_by_split = [set(getattr(table, column)) for table in splits]
            assert not texts_by_split[0] & texts_by_split[1] and not texts_by_split[0] & texts_by_split[2]
        assert pairs(splits) == sorted(rows)


def test_splitting_off_is_the_same_each_time_and_for_copies(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ROWS)
    write(tmp_path / "b.csv", ROWS)
    digests = {load("classification", name, tmp_path).digest for name in ("a.csv", "a.csv", "b.csv")}
    assert len(digests) == 1


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), max_size=25))
def test_components_join_exactly_what_shares_keys(keys: list[list[int]]) -> None:
    groups = components(keys)
    for a, first in enumerate(keys):
        for b, second in enumerate(keys):
            if set(first) & set(second):
                assert groups[a] == groups[b]
    for group in set(groups):
        reached = set(keys[group])
        for _ in keys:
            reached |= {key for row_keys in keys if reached & set(row_keys) for key in row_keys}
        assert all(set(row_keys) <= reached for row_keys, other in zip(keys, groups, strict=True) if other == group)


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(0, 3))
def test_sides_keep_groups_whole_and_never_exceed_a_share(groups: list[int], seed: int) -> None:
    split_names = sides(groups, {"test": 0.25, "validation": 0.05}, seed)
    assert len(set(zip(groups, split_names, strict=True))) == len(set(groups))
    assert split_names.count("test") <= round(0.25 * len(groups))
    assert split_names.count("validation") <= round(0.05 * len(groups))


# Mistakes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files with every kind of mistake in them."""
    contents = {
        "train.tsv": b"text\tlabel\na\tx\nb\ty\n",
        "ragged.csv": b'text,label\n"a, b",x\na,b,c\n',
        "quotes.csv": b'text,label\n"a"b,x\n',
        "headless.csv": b"",
        "bad.jsonl": b'{"text": "a", "label": "x"}\nnot json\n',
        "list.jsonl": b'{"text": ["a"], "label": "x"}\n',
        "array.jsonl": b'["a", "x"]\n',
        "nan.jsonl": b'{"text": "a", "label": "x"}\n{"text": NaN, "label": "x"}\n',
        "infinite.jsonl": b'{"text": "a", "label": -Infinity}\n',
        "huge.jsonl": b'{"text": "a", "label": 1e999}\n',
        "key.jsonl": b'{"text": "a", "label": "x"}\n{"text": "a"}\n',
        "latin.txt": "one\ntwo\ndré\n".encode("latin-1"),
        "latin.tsv": "text\tlabel\nein Bär\tx\n".encode("latin-1"),
        "empty.txt": b"",
        "empty.csv": b"text,label\n",
        "blank.csv": b"text,label\n,x\n",
        "short.txt": b"a",
        "a.de": b"eins\nzwei\n",
        "a.en": b"one\n",
        "odd.xml": b"<a/>",
        "news.csv": b"article,highlights\nIt rained all day.,rain\n",
        "news.jsonl": b'{"document": "It rained all day.", "abstract": "rain"}\n',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "sub").mkdir()
    return tmp_path


MISTAKES = [
    (
        "classification",
        "train.tsv",
        {"columns": {"label": "labels"}},
        'columns: no column "labels" in train.tsv (it has: text, label)',
    ),
    (
        "classification",
        "train.tsv",
        {"columns": {"lable": "label"}},
        'columns: classification has no "lable"; it takes text and label',
    ),
    ("classification", "train.tsv", {}, "stay together); give a file for each split"),
    ("classification", "trian.tsv", {}, 'did you mean "train.tsv"?'),
    ("classification", "sub/a.tsv", {}, 'data: no file "sub/a.tsv" in '),
    ("classification", {"train": "sub"}, {}, 'data: "sub" is a folder'),
    ("classification", {"trian": "train.tsv"}, {}, 'data: unknown split "trian"; did you mean "train"?'),
    ("classification", {"test": "train.tsv"}, {}, "data: train is missing"),
    ("classification", "ragged.csv", {}, "data: ragged.csv line 3 has 3 fields where the header has 2 (text, label)"),
    ("classification", "quotes.csv", {}, "data: quotes.csv line 2 is not well-formed"),
    ("classification", "headless.csv", {}, "data: headless.csv has no header line"),
    ("classification", "empty.csv", {}, "data: empty.csv has no rows"),
    ("classification", "blank.csv", {}, "data: train (blank.csv) has no row with both a source and a target"),
    ("classification", "bad.jsonl", {}, "data: bad.jsonl line 2 is not JSON"),
    ("classification", "array.jsonl", {}, "data: array.jsonl line 1 is not a JSON object"),
    ("classification", "list.jsonl", {}, 'columns: column "text" in list.jsonl line 1 is not text'),
    ("classification", "key.jsonl", {}, 'columns: no column "label" in key.jsonl line 2 (it has: text)'),
    ("classification", "odd.xml", {}, 'data: classification cannot read "odd.xml"; it reads .csv, .tsv, .jsonl'),
    ("classification", {"train": ["a.de", "a.en"]}, {}, "data: classification reads one file for each split"),
    (
        "classification",
        "latin.tsv",
        {},
        "encoding: latin.tsv is not utf-8: byte 0xe4 at 16 (line 2); state its encoding",
    ),
    ("classification", "nan.jsonl", {}, 'columns: column "text" in nan.jsonl line 2 is nan, not text; write null'),
    ("classification", "infinite.jsonl", {}, 'columns: column "label" in infinite.jsonl line 1 is -inf, not text'),
    ("classification", "huge.jsonl", {}, 'columns: column "label" in huge.jsonl line 1 is inf, not text'),
    ("classification", "train.tsv", {"encoding": "utf-9"}, 'encoding: unknown encoding "utf-9"'),
    (
        "translation",
        {"train": ["a.de", "a.en"]},
        {},
        "data: a.de has 2 lines and a.en 1; parallel files need equally many lines",
    ),
    ("translation", {"train": ["a.de", "a.fr"]}, {}, 'data: no file "a.fr"'),
    (
        "translation",
        {"train": ["a.de", "a.en", "a.de"]},
        {},
        "data: translation reads one file for each split or two parallel",
    ),
    (
        "summarization",
        "news.csv",
        {},
        'columns: no column "text" in news.csv (it has: article, highlights); to use "article", write '
        'columns = { text = "article" }',
    ),
    (
        "summarization",
        "news.jsonl",
        {"columns": {"text": "document"}},
        'columns: no column "summary" in news.jsonl line 1 (it has: document, abstract); to use "abstract", write '
        'columns = { summary = "abstract" }',
    ),
    ("summarization", "train.tsv", {}, 'columns: no column "summary" in train.tsv (it has: text, label)'),
    (
        "summarization",
        "train.tsv",
        {"columns": {"target": "label"}},
        'columns: summarization has no "target"; it takes text and summary',
    ),
    ("summarization", "latin.txt", {}, 'summarization cannot read "latin.txt"; it reads .csv, .tsv, .jsonl, or two'),
    ("summarization", {"train": ["a.de", "a.en"]}, {}, "data: a.de has 2 lines and a.en 1"),
    ("summarization", "shakespeare", {}, 'data: "shakespeare" is for generation, not for summarization'),
    ("translation", {"train": []}, {}, "data: translation reads one file for each split"),
    ("generation", "train.tsv", {}, 'data: generation cannot read "train.tsv"; it reads .txt'),
    ("generation", "latin.txt", {}, "encoding: latin.txt is not utf-8: byte 0xe9 at 10 (line 3); state its encoding"),
    ("generation", "empty.txt", {}, "data: empty.txt is empty"),
    ("generation", "short.txt", {}, "data: short.txt is too short to split off"),
    ("generation", "shakespear", {}, 'data: no built-in data set "shakespear"; did you mean "shakespeare"?'),
    ("generation", "sentiment", {}, 'data: "sentiment" is for classification, not for generation'),
    *(
        ("generation", name, {}, f'data: "{name}" is not a hub name; write it like "hub:owner/name"')
        for name in (
            "hub:",
            "hub:a b",
            "hub:a/b/c/d",
            "hub:../../x",
            "hub:a/..",
            "hub:./a",
            "hub:a/b@../..",
            "hub:a//b",
        )
    ),
]


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> Iterator[None]:
    """`gc.collect` in a test looks only at what this module's tests made, not at all of torch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(("kind", "data", "options", "message"), MISTAKES)
def test_mistakes_are_named_in_one_line(
    folder: Path, kind: str, data: sources.Data, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as error:
        load(kind, data, folder, **options)
    text = str(error.value)
    assert text.startswith("tasks.mine.") and message in text and "\n" not in text
    error.value.__traceback__ = None
    gc.collect()  # an unclosed file would be an error here


@pytest.mark.parametrize("before", [0, 5, CHUNK - 1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xe2\x82"])
def test_the_first_byte_that_is_no_text_is_found(tmp_path: Path, before: int, bad: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"ab\n" * (before // 3) + b"\n" * (before % 3) + bad)
    lines = 1 + before // 3 + before % 3
    with pytest.raises(InputError, match=rf"byte {bad[0]:#04x} at {before:,} \(line {lines:,}\)"):
        files.read_text(path, "utf-8")


def test_names_have_a_version_unless_only_reading_could_tell() -> None:
    assert sources.name_version("shakespeare") != sources.name_version("sentiment")
    assert sources.name_version("hub:a/b") is None
    assert sources.name_version(f"hub:a/b@{'0' * 40}") == f"hub:a/b@{'0' * 40} []"


# The hub --------------------------------------------------------------------------------------------------------


@pytest.fixture
def local_hub(tmp_path: Path) -> Iterator[hub.Open]:
    """``datasets`` itself, loading a folder in place of the hub; ``config`` picks how columns are typed."""
    import datasets

    folder = tmp_path / "repository"
    folder.mkdir()
    for split, count in (("train", 100), ("validation", 5), ("test", 5)):
        rows = (
            {
                "translation": {"de": f"{split} {n} de", "en": f"{split} {n} en"},
                "text": f"{split} {n}",
                "label": n % 3 - 1,
            }
            for n in range(count)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def open_local(name: hub.Name) -> hub.Source:
        dataset = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "datasets"))
        if name.config == "labels":
            dataset = dataset.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
        if name.config == "translation":
            dataset = dataset.cast_column("translation", datasets.Translation(languages=["de", "en"]))
        splits = {"train": dataset["train"]} if name.config == "single" else dict(dataset)
        return hub.Source(splits, f"hub:{name.repository}@{name.revision}")

    yield open_local
    gc.collect()


def test_hub_labels_get_their_names_and_unknown_ones_are_dropped(tmp_path: Path, local_hub: hub.Open) -> None:
    data = load("classification", "hub:a/b/labels@v1", tmp_path, open_hub=local_hub)
    train, _, test = tables(data)
    assert train.sources[:2] == ["train 1", "train 2"] and train.targets[:2] == ["bad", "good"]
    assert test.sources == ["test 1", "test 2", "test 4"]
    assert data.notes["empty_rows_dropped"] == 34 + 2 + 2
    assert data.origin == "hub:a/b@v1"


@pytest.mark.parametrize("config", ["", "/translation"])
def test_hub_translations_under_dotted_names(tmp_path: Path, local_hub: hub.Open, config: str) -> None:
    columns = {"source": "translation.de", "target": "translation.en"}
    data = load("translation", f"hub:a/b{config}", tmp_path, columns=columns, open_hub=local_hub)
    assert tables(data)[2].sources[0] == "test 0 de" and tables(data)[2].targets[0] == "test 0 en"


def test_hub_summaries_are_read_as_translations_are(tmp_path: Path, local_hub: hub.Open) -> None:
    by_kind = {"translation": ("source", "target"), "summarization": ("text", "summary")}
    loaded = [
        load(
            kind,
            "hub:a/b",
            tmp_path,
            columns=dict(zip(names, ("translation.de", "translation.en"), strict=True)),
            open_hub=local_hub,
        )
        for kind, names in by_kind.items()
    ]
    assert loaded[0].digest == loaded[1].digest and loaded[1].kind == "summarization"
    assert tables(loaded[1])[2].sources[0] == "test 0 de" and tables(loaded[1])[2].targets[0] == "test 0 en"
    with pytest.raises(InputError, match=r'tasks\.mine\.columns: no column "summary" \(it has: .*text, label\)$'):
        load("summarization", "hub:a/b", tmp_path, open_hub=local_hub)


def test_hub_text_is_read_row_by_row_and_its_end_split_off(tmp_path: Path, local_hub: hub.Open) -> None:
    parts = texts(load("generation", "hub:a/b", tmp_path, open_hub=local_hub))
    assert parts[2] == "".join(f"test {n}\n" for n in range(5))
    train, validation, test = texts(load("generation", "hub:a/b/single", tmp_path, open_hub=local_hub))
    assert train + validation + test == "".join(f"train {n}\n" for n in range(100))
    assert test == "".join(f"train {n}\n" for n in range(95, 100))
    split = tables(load("classification", "hub:a/b/single", tmp_path, open_hub=local_hub))
    assert [len(table) for table in split] == [90, 5, 5]


def test_hub_data_without_rows_to_train_on_are_one_line(tmp_path: Path) -> None:
    from datasets import Dataset as Rows

    rows = {
        "train": Rows.from_dict({"text": ["a", "b"], "label": [None, None]}),
        "test": Rows.from_dict({"text": ["a", "b"], "label": ["x", "y"]}),
    }
    with pytest.raises(InputError, match=r'no row of train in hub:a/b has a "label"; name another column'):
        load("classification", "hub:a/b", tmp_path, open_hub=lambda name: hub.Source(rows, "hub:a/b"))
    empty = {"train": Rows.from_dict({"text": []}), "test": Rows.from_dict({"text": ["a"]})}
    with pytest.raises(InputError, match="the train split has no rows"):
        load("generation", "hub:a/b", tmp_path, open_hub=lambda name: hub.Source(empty, "hub:a/b"))


def test_a_file_in_the_home_folder_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tsv").write_text("text\tlabel\na\tb\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    local, home = (TaskConfig("classification", "x", data, folder=str(tmp_path)) for data in ("x.tsv", "~/x.tsv"))
    assert prepare.version(local) == prepare.version(home)


def test_hub_values_that_are_no_numbers_are_no_text() -> None:
    from datasets import Dataset as Rows

    source = hub.Source({"train": Rows.from_dict({"text": ["a", "b"], "label": [1.5, float("nan")]})}, "hub:a/b")
    with pytest.raises(InputError, match=r'column "label" of train is nan in row 1, which is not text'):
        hub.read_tables(source, ("text", "label"))


def test_hub_columns_that_are_not_there(tmp_path: Path, local_hub: hub.Open) -> None:
    message = r'^tasks.mine.columns: no column "txt" \(it has: translation.de, translation.en, text, label\)$'
    with pytest.raises(InputError, match=message):
        load("classification", "hub:a/b", tmp_path, columns={"text": "txt"}, open_hub=local_hub)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("hub:imdb", ("imdb", None, None)),
        ("hub:a/b", ("a/b", None, None)),
        ("hub:a/b/c-d@v1.0", ("a/b", "c-d", "v1.0")),
        ("hub:a/b@refs/convert/parquet", ("a/b", None, "refs/convert/parquet")),
    ],
)
def test_hub_names(data: str, name: tuple[str, str | None, str | None]) -> None:
    assert hub.parse(data) == hub.Name(*name) and str(hub.parse(data)) == data


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_that_cannot_be_reached_is_one_line_at_once(tmp_path: Path, offline: str) -> None:
    code = (
        "from pathlib import Path; from archbench.tasks.data import sources\n"
        "from archbench.tasks.base.errors import InputError\n"
        "from archbench.tasks.kinds.registry import BUILTIN\n"
        "kind, name = BUILTIN['classification'], 'hub:owner/name/part@v1'\n"
        "try: sources.load(kind, name, Path('cache'), print, where='tasks.mine')\n"
        "except InputError as error: print(error)"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": offline,
        "HF_HOME": str(tmp_path),
    }
    environment["HF_DATASETS_OFFLINE"] = offline
    environment["PYTHONPATH"] = str(Path(sources.__file__).parents[1])
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert time.monotonic() - begin < 10
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line.startswith("tasks.mine.data: hub:owner/name/part@v1 cannot be ")
