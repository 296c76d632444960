"""Public data sets: the same bytes give the same data wherever they lie; publishers' splits; one line if absent.

No test needs the real files: small ones of the same form stand in for them.
"""

import gzip
import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import commands
import pytest
import registry
from hypothesis import given
from hypothesis import strategies as st
from registry import Registry

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, Text
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.groups import normal
from archbench.tasks.builtin_data import builtin, pinned_files, public, sigmorphon
from archbench.tasks.builtin_data.pinned_files import FOLDER, PinnedFile
from archbench.tasks.data import sources
from archbench.tasks.kinds.registry import BUILTIN
from archbench.tasks.text.coders import Words, frequent_words

QUESTIONS = [f"{number % 6} What is thing {number // 2} ?" for number in range(400)]


def packed(*lines: str) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive of these texts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


CAPTIONS = [
    packed("Zwei Männer.", "Ein Kind\u2028spielt. "),
    packed("Two men.", "A child plays."),
    packed("Ein Hund."),
    packed("A dog."),
    packed("Eine Katze."),
    packed("A cat."),
]
INTENTS = {
    "train": [["say hi in french", "translate"], ["pay my bill", "pay_bill"]],
    "val": [["how do i say it", "translate"]],
    "test": [["pay it", "pay_bill"]],
    **{f"oos_{split}": [["who won the game", "oos"]] for split in ("train", "val", "test")},
}
OPINIONS = {
    "subjectivity/quote.tok.gt9.5000": "".join(f"a gem , number {n // 2} of many . \n" for n in range(200)),
    "subjectivity/plot.tok.gt9.5000": "".join(f"a boy finds café {n} . \n" for n in range(200)),
    "subjectivity/README.txt": "Not data.\n",
}
FORMS = [  # lemma, form, tags
    "festlegen\tlegtet fest\tV;IND;PST;2;PL\nIn-\xa0sel\tInseln\tN;NOM;PL\n".encode(),
    b"gehen\tgegangen\tV.PTCP;PST\n",
    b"Haus\tHaus\tN;IN+ESS;SG\n",
]
STAND_INS = {
    "multi30k-de-en": CAPTIONS,
    "multi30k-en-de": CAPTIONS,
    "clinc150": [json.dumps(INTENTS).encode()],
    "subjectivity": [zipped(OPINIONS)],
    "inflection-german": FORMS,
    "inflection-german-medium": [b"gut\tguten\tADJ;ACC\n", *FORMS[1:]],
    "g2p-french": ["bon\tb ɔ̃\nabbé\ta b e\n".encode(), b"oui\tw i\n", b"tu\tt y\n"],
    "sst2": [b"a good film\t1\nso so ' \" film\t0\n", b"good\t1\n", b"bad\t0\nfine\t1\n"],
    "trec": ["\n".join([*QUESTIONS, "4 Where is the Caf\xe9 ?\n"]).encode("latin-1"), b"3 Who was Galileo ?\n"],
    "tiny-shakespeare": ["".join(f"Line {number}, and so on.\n" for number in range(500)).encode()],
}


def silent(line: str) -> None:
    """Progress that nobody reads."""


def pin(file: PinnedFile, raw: bytes) -> PinnedFile:
    return replace(file, size=len(raw), sha256=hashlib.sha256(raw).hexdigest())


def offline(address: str, file: PinnedFile) -> bytes:
    raise InputError(f"{address} (the publisher cannot be reached: no network)")


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins' sizes and hashes in place of the real ones, and no network."""
    for name, contents in STAND_INS.items():
        data = public.PUBLIC[name]
        files = tuple(map(pin, data.publisher.files, contents))
        monkeypatch.setitem(public.PUBLIC, name, replace(data, publisher=replace(data.publisher, files=files)))
    monkeypatch.setattr(pinned_files, "download", offline)
    monkeypatch.delenv(FOLDER, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all stand-ins, deep down and under other names, and ``ARCHBENCH_DATA`` that names it."""
    place = tmp_path / "data" / "deep" / "down"
    place.mkdir(parents=True)
    for name, contents in STAND_INS.items():
        for number, raw in enumerate(contents):
            (place / f"{name}-{number}.bin").write_bytes(raw)
    monkeypatch.setenv(FOLDER, str(tmp_path / "data"))
    return tmp_path / "data"


def load(name: str, cache: Path) -> Dataset:
    return builtin.load(name, builtin.find(name).kinds[0], cache, silent)


def published(name: str) -> pinned_files.Fetch:
    """A publisher who hands out the stand-ins."""
    files = {file.sha256: raw for file, raw in zip(public.PUBLIC[name].publisher.files, STAND_INS[name], strict=True)}
    return lambda address, file: files[file.sha256]


@pytest.mark.parametrize("name", STAND_INS)
def test_the_same_bytes_are_the_same_data_wherever_they_lie(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    local = load(name, tmp_path / "one")
    fetched = public.load(name, tmp_path / "two", silent, published(name))
    monkeypatch.delenv(FOLDER)
    fetched_anew = public.load(name, tmp_path / "three", silent, published(name))
    cached = load(name, tmp_path / "one")
    assert len({data.digest for data in (local, fetched, fetched_anew, cached)}) == 1
    assert builtin.find(name).version == public.PUBLIC[name].version


def test_splits_are_the_publishers(tmp_path: Path, folder: Path) -> None:
    pairs = load("multi30k-de-en", tmp_path / "cache")
    assert pairs.train == Table(["Zwei Männer.", "Ein Kind\u2028spielt."], ["Two men.", "A child plays."])
    assert (pairs.validation, pairs.test) == (Table(["Ein Hund."], ["A dog."]), Table(["Eine Katze."], ["A cat."]))
    films = load("sst2", tmp_path / "cache")
    assert films.train == Table(["a good film", "so so ' \" film"], ["positive", "negative"])
    assert films.validation == Table(["good"], ["positive"])
    assert films.test == Table(["bad", "fine"], ["negative", "positive"])


def test_trec_keeps_identical_questions_on_one_side(tmp_path: Path, folder: Path) -> None:
    data = load("trec", tmp_path / "cache")
    assert isinstance(data.train, Table) and isinstance(data.validation, Table)
    assert data.test == Table(["Who was Galileo ?"], ["human"])
    assert len(data.train) + len(data.validation) == len(QUESTIONS) + 1
    assert len(data.validation) == pytest.approx(0.05 * len(QUESTIONS), abs=2)
    assert not {normal(text) for text in data.train.sources} & {normal(text) for text in data.validation.sources}
    assert "Where is the Café ?" in [*data.train.sources, *data.validation.sources]
    assert {*data.train.targets, *data.validation.targets} == set(public.QUESTIONS.values())


def test_captions_from_english_are_the_mirror(tmp_path: Path, folder: Path) -> None:
    german, english = (load(name, tmp_path / "cache") for name in ("multi30k-de-en", "multi30k-en-de"))
    for split in SPLITS:
        there, back = getattr(german, split), getattr(english, split)
        assert (there.sources, there.targets) == (back.targets, back.sources)
    assert german.digest != english.digest


def test_questions_out_of_scope_are_left_out(tmp_path: Path, folder: Path) -> None:
    data = load("clinc150", tmp_path / "cache")
    assert data.train == Table(["say hi in french", "pay my bill"], ["translate", "pay_bill"])
    assert (data.validation, data.test) == (Table(["how do i say it"], ["translate"]), Table(["pay it"], ["pay_bill"]))


def test_no_sentence_is_in_two_splits_of_subjectivity(tmp_path: Path, folder: Path) -> None:
    data = load("subjectivity", tmp_path / "cache")
    splits = [split for split in (data.train, data.validation, data.test) if isinstance(split, Table)]
    assert [len(split) for split in splits] == pytest.approx([0.85 * 400, 0.05 * 400, 0.1 * 400], abs=2)
    words = [{normal(sentence) for sentence in split.sources} for split in splits]
    assert sum(map(len, words)) == len(set.union(*words)) == 300
    for split in splits:
        assert split.targets == ["objective" if "café" in text else "subjective" for text in split.sources]
    assert sum(map(len, splits)) == 400


def test_tags_come_first_and_every_character_is_a_token(tmp_path: Path, folder: Path) -> None:
    data = load("inflection-german", tmp_path / "cache")
    assert data.train == Table(
        ["V IND PST 2 PL f e s t l e g e n", "N NOM PL I n - ␣ s e l"], ["l e g t e t ␣ f e s t", "I n s e l n"]
    )
    assert data.validation == Table(["V_PTCP PST g e h e n"], ["g e g a n g e n"])
    assert data.test == Table(["N IN_ESS SG H a u s"], ["H a u s"])
    medium = load("inflection-german-medium", tmp_path / "cache")
    assert medium.train == Table(["ADJ ACC g u t"], ["g u t e n"])
    assert (medium.validation, medium.test) == (data.validation, data.test)


@given(
    st.text(
        st.characters(exclude_characters=sigmorphon.SPACE, exclude_categories=("Zs", "Zl", "Zp", "Cc")) | st.just(" ")
    )
)
def test_a_form_is_spelled_and_joined_again(form: str) -> None:
    assert sigmorphon.joined(sigmorphon.spelled(form)) == form
    assert len(sigmorphon.spelled(form).split()) == len(form)


@pytest.mark.parametrize("name", ["inflection-german", "g2p-french"])
def test_each_tag_character_and_phoneme_is_a_token_of_words(tmp_path: Path, folder: Path, name: str) -> None:
    table = load(name, tmp_path / "cache").train
    assert isinstance(table, Table)
    texts = [*table.sources, *table.targets]
    words = Words(frequent_words(texts, 1000))
    for text, ids in zip(texts, words.encode(texts), strict=True):
        assert len(ids) == len(text.split()) and words.decode(ids.tolist()).decode() == text


def test_pronunciations_are_the_publishers(tmp_path: Path, folder: Path) -> None:
    data = load("g2p-french", tmp_path / "cache")
    assert data.train == Table(["b o n", "a b b é"], ["b ɔ̃", "a b e"])
    assert (data.validation, data.test) == (Table(["o u i"], ["w i"]), Table(["t u"], ["t y"]))


def test_every_language_has_files_of_its_own() -> None:
    parts = [data.publisher.files for name, data in public.PUBLIC.items() if name.startswith(("inflection-", "g2p-"))]
    assert len(parts) == 18 and {len(files) for files in parts} == {3}
    assert len({files[0] for files in parts}) == 18 and len({files[2] for files in parts}) == 12


def test_text_is_split_contiguously_as_a_file_of_the_users_is(tmp_path: Path, folder: Path) -> None:
    (raw,) = STAND_INS["tiny-shakespeare"]
    (tmp_path / "input.txt").write_bytes(raw)
    data = load("tiny-shakespeare", tmp_path / "cache")
    splits = [split for split in (data.train, data.validation, data.test) if isinstance(split, Text)]
    assert "".join(chunk for split in splits for chunk in split.chunks()) == raw.decode()
    assert all("".join(split.chunks()).endswith(".\n") for split in splits)
    loaded = sources.load(BUILTIN["generation"], "input.txt", tmp_path / "cache", silent, folder=tmp_path)
    assert loaded.digest == data.digest


def test_only_files_of_the_right_size_are_read(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = public.PUBLIC["sst2"].publisher.files
    (folder / "larger").write_bytes(b"x" * (files[0].size + 1))
    (folder / "other").write_bytes(b"x" * files[0].size)
    (folder / "circle").symlink_to(folder)
    (folder / "gone").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    read: list[int] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.stat().st_size) or whole(path))
    assert pinned_files.find(folder, files) == dict(zip(files, STAND_INS["sst2"], strict=True))
    assert set(read) <= {file.size for file in files} and read.count(files[0].size) <= 2


def test_a_damaged_cache_is_replaced(tmp_path: Path, folder: Path) -> None:
    load("sst2", tmp_path / "cache")
    for path in (tmp_path / "cache" / "public").iterdir():
        path.write_bytes(b"damaged")
    lines: list[str] = []
    data = public.load("sst2", tmp_path / "cache", lines.append)
    assert isinstance(data.test, Table) and len(data.test) == 2
    assert lines == [f"sst2: 3 of 3 files found in {FOLDER} and verified"]


def test_the_size_is_told_before_a_download_and_the_commit_is_pinned(tmp_path: Path) -> None:
    messages: list[str] = []

    def fetch(address: str, file: PinnedFile) -> bytes:
        messages.append(address)
        return published("sst2")(address, file)

    public.load("sst2", tmp_path, messages.append, fetch)
    publisher = public.PUBLIC["sst2"].publisher
    assert messages[0] == f"sst2: fetching 3 files of {publisher.origin} (0.0 MB, once)"
    assert (
        messages[1]
        == f"https://raw.githubusercontent.com/{publisher.repository}/{publisher.commit}/data/SST2/train.tsv"
    )
    public.load("sst2", tmp_path, messages.append, offline)
    assert len(messages) == 5, "nothing is fetched twice"


@pytest.mark.parametrize("set_to", [None, "empty"])
def test_what_is_nowhere_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_to: str | None
) -> None:
    if set_to:
        (tmp_path / set_to).mkdir()
        monkeypatch.setenv(FOLDER, str(tmp_path / set_to))
    with pytest.raises(InputError) as error:
        load("trec", tmp_path / "cache")
    line = str(error.value)
    assert "\n" not in line and line.startswith('data: "trec" cannot be fetched: https://')
    assert f"set {FOLDER} to a folder that has TREC.train.all, TREC.test.all of github:harvardnlp/" in line
    assert ("does not have all of its files" in line) == bool(set_to)


@pytest.mark.parametrize(
    ("changed", "told"), [(b"2", "has another SHA-256"), (b"", "has 285 bytes, not 286"), (None, "files; run once")]
)
def test_a_changed_file_is_one_line_that_names_it(
    tmp_path: Path, folder: Path, changed: bytes | None, told: str
) -> None:
    (raw,) = STAND_INS["clinc150"]
    (place,) = folder.rglob("clinc150-0.bin")
    place.unlink()
    if changed is not None:
        (folder / "data_full.json").write_bytes(raw[:-1] + changed)
    with pytest.raises(InputError) as error:
        load("clinc150", tmp_path / "cache")
    line = str(error.value)
    assert "\n" not in line and told.replace("286", str(len(raw))).replace("285", str(len(raw) - 1)) in line
    assert f"set {FOLDER} to a folder that has data_full.json of github:clinc/oos-eval" in line


def test_a_folder_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=f"{FOLDER}: .* is not a folder"):
        load("trec", tmp_path / "cache")


def test_the_command_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    experiment = commands.EXPERIMENT.replace('"things.csv"', '"sst2"').replace('kind = "classification"\n', "")
    commands.write(tmp_path, experiment)
    nowhere = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    arguments = ("compare", str(tmp_path / "small.toml"), "--dry-run")
    process = commands.start(tmp_path, *arguments, env={**nowhere, "no_proxy": "", "NO_PROXY": "", FOLDER: ""})
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = [line for line in errors.splitlines() if "cannot be fetched" in line]
    assert 'tasks.colours.data: "sst2" cannot be fetched' in line and FOLDER in line and "Traceback" not in errors


def test_public_names_are_listed_with_their_kinds() -> None:
    listed = {entry.name: entry for entry in builtin.listing()}
    unlisted = "inflection-german-medium"
    assert unlisted not in listed and "-medium" in listed["inflection-german"].description
    assert {name: listed[name].kinds for name in STAND_INS if name != unlisted} == {
        "multi30k-de-en": ("translation",),
        "multi30k-en-de": ("translation",),
        "clinc150": ("classification",),
        "subjectivity": ("classification",),
        "inflection-german": ("translation",),
        "g2p-french": ("translation",),
        "sst2": ("classification",),
        "trec": ("classification",),
        "tiny-shakespeare": ("generation",),
    }
    assert set(STAND_INS) <= set(builtin.names())


@pytest.mark.fault("a publisher who breaks off, errs or sends wrong bytes", "fetched again, else one line")
@pytest.mark.parametrize("moods", [["fine"], ["half", "fine"], ["wrong", "error", "fine"], ["wrong"], ["half"]])
def test_downloads_are_verified_and_tried_again(monkeypatch: pytest.MonkeyPatch, moods: list[str]) -> None:
    monkeypatch.undo()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    raw = b"rows\n" * 1000
    monkeypatch.setattr(registry, "wheel", lambda: raw)
    file = pin(PinnedFile("files/rows.txt", 0, ""), raw)
    with registry.serving(*moods) as server:
        if "fine" in moods:
            assert pinned_files.download(f"{server.url}/{file.path}", file) == raw
        else:
            with pytest.raises(InputError, match=r"another SHA-256|cannot be reached"):
                pinned_files.download(f"{server.url}/{file.path}", file)
        assert len(server.requests) == (len(moods) if "fine" in moods else 3)


def test_a_publisher_who_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = PinnedFile("rows.txt", 5, "0" * 64)
    with pytest.raises(InputError, match="the publisher cannot be reached"):
        pinned_files.download(f"{Registry('http://127.0.0.1:9', []).url}/rows.txt", file)
