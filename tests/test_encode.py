"""Encoded splits: every token once, exact byte counts, the original text, and folders that are intact or absent."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archbench.tasks.base.dataset import Table, text_in_memory
from archbench.tasks.base.example import END, UNK
from archbench.tasks.base.kind import TOKENIZERS
from archbench.tasks.text.arrays import MANIFEST, ArrayWriter, open_arrays, writing
from archbench.tasks.text.encode import PairEncoding, read_pairs, read_windows, write_pairs, write_text
from archbench.tasks.text.splits import PairExamples, Subset, Windows
from archbench.tasks.text.tokenizers import Tokenizer, train_tokenizer

STORY = "Der Fuchs läuft über 12 Hügel.\nDie 龍 schläft — 😀! " * 7
SOURCES = ["a good day", "", "très bien, merci", "x" * 40]
TARGETS = ["ein guter Tag", "leer", "sehr gut 😀", "y"]


def pairs_of(folder: Path, tokenizer: Tokenizer, encoding: PairEncoding) -> tuple[PairExamples, dict[str, int]]:
    with writing(folder) as writer:
        notes = write_pairs(writer, "train", Table(SOURCES, TARGETS), tokenizer, encoding)
    arrays = open_arrays(folder)
    assert arrays is not None
    return read_pairs(arrays[0], "train"), notes


def windows_of(folder: Path, tokenizer: Tokenizer, source_length: int, target_length: int) -> Windows:
    with writing(folder) as writer:
        write_text(writer, "train", text_in_memory(STORY), tokenizer)
    arrays = open_arrays(folder)
    assert arrays is not None
    return read_windows(arrays[0], "train", source_length, target_length)


def stream(size: int, source_length: int, target_length: int) -> Windows:
    """Windows over the tokens 5, 6, 7, ..., a byte each."""
    letters = np.arange(size, dtype=np.int32)
    return Windows(letters + 5, np.ones(size, np.uint8), letters.astype(np.uint8), source_length, target_length)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_pairs_come_back_with_their_text(kind: str, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(kind, [*SOURCES, *TARGETS], 400)
    pairs, notes = pairs_of(tmp_path / "p", tokenizer, PairEncoding(40, 64, labels=False))
    assert len(pairs) == 4
    for index, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        assert pairs[index].source.tolist() == tokenizer.encode(source)
        assert pairs[index].target.tolist() == [*tokenizer.encode(target), END]
        assert (pairs.source_text(index), pairs.target_text(index)) == (source, target)
    assert pairs.target_bytes.tolist() == [len(target.encode()) for target in TARGETS]
    assert pairs.source_lengths.tolist() == [len(pairs[i].source) for i in range(4)]
    assert pairs.target_lengths.tolist() == [len(pairs[i].target) for i in range(4)]
    assert pairs.epoch(3, 4) is pairs
    assert notes["longest_target"] == pairs.target_lengths.max()


def test_long_sources_are_cut_at_their_end_and_long_targets_left_out(tmp_path: Path) -> None:
    tokenizer = train_tokenizer("byte", [])
    pairs, notes = pairs_of(tmp_path / "p", tokenizer, PairEncoding(12, 6, labels=False))
    assert [pairs.target_text(i) for i in range(len(pairs))] == ["leer", "y"]
    assert pairs[1].source.tolist() == tokenizer.encode("x" * 12)
    assert pairs.source_text(1) == "x" * 40
    assert (notes["truncated_sources"], notes["excluded_targets"], notes["longest_target"]) == (1, 2, 14)


def test_labels_are_one_token_and_unseen_ones_unknown(tmp_path: Path) -> None:
    tokenizer = train_tokenizer("byte", [], labels=["leer", "y"])
    pairs, notes = pairs_of(tmp_path / "p", tokenizer, PairEncoding(40, 1, labels=True))
    assert [pairs[i].target.tolist() for i in range(4)] == [[UNK], [5], [UNK], [6]]
    assert (notes["unseen_labels"], notes["unknown_tokens"]) == (2, 0)
    assert pairs.target_text(0) == "ein guter Tag"


@pytest.mark.parametrize("lengths", [(0, 8), (3, 5), (1, 2)])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_windows_stand_for_exactly_the_bytes_of_their_text(kind: str, lengths: tuple[int, int], tmp_path: Path) -> None:
    tokenizer = train_tokenizer(kind, [STORY[:20]], 300)
    windows = windows_of(tmp_path / "w", tokenizer, *lengths)
    raw = b"".join(windows.source_raw(i) + windows.target_raw(i) for i in range(len(windows)))
    assert STORY.encode().startswith(raw)
    assert len(windows) == len(windows.tokens) // windows.stride
    assert windows.target_bytes.tolist() == [len(windows.target_raw(i)) for i in range(len(windows))]
    assert windows.bytes_per_token.sum() == len(STORY.encode())
    for index in range(len(windows)):
        assert len(windows[index].source) == lengths[0]
        assert len(windows[index].target) == lengths[1]
        assert (windows[index].target[-1] == END) == (lengths[0] > 0)


def test_a_window_may_cut_a_character(tmp_path: Path) -> None:
    before = len("Der Fuchs l")
    whole = windows_of(tmp_path / "w", train_tokenizer("byte", []), before, 3)
    assert whole.target_raw(0) == "ä".encode()
    cut = windows_of(tmp_path / "v", train_tokenizer("byte", []), before, 2)
    assert (cut.target_raw(0), cut.target_text(0)) == ("ä".encode()[:1], "\ufffd")


@given(
    size=st.integers(2, 200),
    source_length=st.integers(0, 6),
    target_length=st.integers(2, 7),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 50),
)
def test_an_epoch_has_every_token_once_up_to_the_edges(
    size: int, source_length: int, target_length: int, seed: int, epoch: int
) -> None:
    windows = stream(size, source_length, target_length).epoch(seed, epoch)
    body = [
        np.concatenate([example.source, example.target[: len(example.target) - windows.ends]]) for example in windows
    ]
    tokens = np.concatenate([*body, np.zeros(0, np.int32)])
    assert tokens.tolist() == list(range(windows.offset + 5, windows.offset + 5 + len(tokens)))
    assert windows.offset < windows.stride
    assert size - windows.offset - len(tokens) < windows.stride
    assert windows.target_bytes.tolist() == [target_length - windows.ends] * len(windows)
    again = stream(size, source_length, target_length).epoch(seed, epoch)
    assert again.offset == windows.offset


def test_epochs_differ_in_offset_and_cover_them_all() -> None:
    windows = stream(100, 3, 5)
    offsets = [windows.epoch(0, epoch).offset for epoch in range(100)]
    assert set(offsets) == set(range(7))
    assert offsets != [windows.epoch(1, epoch).offset for epoch in range(100)]


def test_gathering_equals_taking_one_by_one(tmp_path: Path) -> None:
    tokenizer = train_tokenizer("byte", [])
    pairs, _ = pairs_of(tmp_path / "p", tokenizer, PairEncoding(40, 64, labels=False))
    chosen = np.array([2, 0, 3, 1], np.int64)
    for examples in (pairs, stream(90, 3, 5), stream(90, 0, 5), Subset(pairs, np.array([3, 2, 1, 0]))):
        sources, targets = examples.gather(chosen)
        assert sources.tolist() == np.concatenate([examples[int(i)].source for i in chosen]).tolist()
        assert targets.tolist() == np.concatenate([examples[int(i)].target for i in chosen]).tolist()


def test_a_subset_is_those_examples(tmp_path: Path) -> None:
    pairs, _ = pairs_of(tmp_path / "p", train_tokenizer("byte", []), PairEncoding(40, 64, labels=False))
    subset = Subset(pairs, np.array([2, 0]))
    assert len(subset) == 2
    assert [subset.target_text(i) for i in range(2)] == [TARGETS[2], TARGETS[0]]
    assert [subset.source_text(i) for i in range(2)] == [SOURCES[2], SOURCES[0]]
    assert subset.target_bytes.tolist() == pairs.target_bytes[[2, 0]].tolist()
    assert subset[0].target.tolist() == pairs[2].target.tolist()
    with pytest.raises(IndexError):
        pairs[4]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with writing(tmp_path / "made") as writer:
        writer.append("numbers", np.arange(10, dtype=np.int64))
        writer.append("numbers", np.arange(5))
        writer.append("none", np.zeros(0, np.uint16))
        writer.facts["answer"] = 42
    return tmp_path / "made"


def test_arrays_come_back_read_only_with_their_facts(folder: Path) -> None:
    arrays, facts = open_arrays(folder) or ({}, {})
    assert arrays["numbers"].tolist() == [*range(10), *range(5)]
    assert (len(arrays["none"]), arrays["none"].dtype) == (0, np.uint16)
    assert facts == {"answer": 42}
    with pytest.raises(ValueError, match="read-only"):
        arrays["numbers"][0] = 1


@pytest.mark.parametrize("name", ["numbers", MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_noticed_and_mended(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    raw = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(raw[:-9] if damage == "truncate" else raw[:20] + bytes([raw[20] ^ 1]) + raw[21:])
    assert open_arrays(folder) is None
    with writing(folder) as writer:
        writer.append("numbers", np.arange(3))
    assert (open_arrays(folder) or ({}, {}))[0]["numbers"].tolist() == [0, 1, 2]
    assert os.listdir(folder.parent) == ["made"]


def test_a_writer_that_fails_leaves_nothing_and_an_intact_folder_stays(folder: Path) -> None:
    def fail(writer: ArrayWriter) -> None:
        writer.append("numbers", np.arange(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), writing(folder.parent / "other") as writer:
        fail(writer)
    with writing(folder) as writer:
        writer.append("numbers", np.arange(1))
    assert os.listdir(folder.parent) == ["made"]
    assert len((open_arrays(folder) or ({}, {}))[0]["numbers"]) == 15


def test_big_folders_are_checked_by_samples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archbench.tasks.text.arrays.FULL_CHECK", 10)
    assert open_arrays(folder) is not None
    (folder / "numbers").write_bytes(b"x" * 120)
    assert open_arrays(folder) is None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of a process's memory from /proc")
@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_huge_text_is_encoded_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    """200 MB take under 200 MB, libraries included: neither the text nor its tokens are ever held whole."""
    line = "The quick brown fox jumps over the lazy dog, again and again and again.\n"
    (tmp_path / "big.txt").write_text(line * (200_000_000 // len(line)))
    script = (
        "import sys\nfrom pathlib import Path\nfrom archbench.tasks.base.values import TaskConfig\n"
        "from archbench.tasks.kinds.task import prepare\n"
        "folder = Path(sys.argv[1])\n"
        f"config = TaskConfig('generation', 'big', 'big.txt', tokenizer='{kind}', folder=str(folder))\n"
        "assert len(prepare(config, folder / 'cache').train) > 1000\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(process.stdout) < 200_000
