"""Random strings: seeded, keys distinct, the same in every split, as many bits as they say."""

import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archbench.tasks.base.errors import InputError
from archbench.tasks.builtin_data import builtin, random_strings
from archbench.tasks.data import sources
from archbench.tasks.kinds.registry import BUILTIN


def silent(line: str) -> None:
    """Says nothing."""


def test_keys_are_distinct_and_strings_uniform() -> None:
    table = random_strings.draw(20_000)
    assert len(set(table.sources)) == len(set(table.targets)) == len(table) == 20_000
    assert {len(key) for key in table.sources} == {random_strings.KEY}
    assert {len(string) for string in table.targets} == {random_strings.LENGTH}
    assert set("".join(table.targets)) == set(random_strings.ALPHABET)
    expected = 20_000 / len(random_strings.ALPHABET)
    for place in range(random_strings.LENGTH):
        counts = np.unique([string[place] for string in table.targets], return_counts=True)[1]
        chi_squared = float(((counts - expected) ** 2 / expected).sum())
        assert chi_squared < 31 + 5 * math.sqrt(62)  # 31 degrees of freedom, five standard deviations


def test_a_key_tells_nothing_of_its_string() -> None:
    table = random_strings.draw(20_000)
    same = np.mean([key[0] == string[0] for key, string in zip(table.sources, table.targets, strict=True)])
    assert same == pytest.approx(1 / 32, abs=0.007)


def test_a_longer_list_begins_with_the_shorter() -> None:
    short, long = random_strings.draw(50), random_strings.draw(500)
    assert (short.sources, short.targets) == (long.sources[:50], long.targets[:50])


def test_all_keys_can_be_asked_for() -> None:
    assert random_strings.parse(f"random-strings:{random_strings.MAXIMUM}") == 32**4
    assert random_strings.parse("random-strings") == random_strings.STRINGS
    assert random_strings.parse("random-strings:1_000") == 1_000


def test_the_strings_are_those_of_any_other_process() -> None:
    text = "\n".join(random_strings.draw(300).targets)
    code = (
        "from archbench.tasks.builtin_data import random_strings; print('\\n'.join(random_strings.draw(300).targets))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == text
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "550b92478f698f68"


def test_every_split_is_the_same_and_says_so(tmp_path: Path) -> None:
    data = sources.load(BUILTIN["memorization"], "random-strings:100", tmp_path, silent)
    assert data.train == data.validation == data.test and len(data.train) == 100  # type: ignore[arg-type]
    assert data.notes == {"bits_in_all_strings": 100 * 80, "test_strings_seen_in_train_by_design": 100}
    assert "the same in all splits" in data.origin


@pytest.mark.parametrize(
    "name",
    [
        "random-strings:0",
        "random-strings:x",
        "random-strings:",
        "random-strings:9999999",
        "random-strings:" + "9" * 5_000,
    ],
)
def test_a_name_that_asks_for_no_strings_is_an_error_in_one_line(name: str, tmp_path: Path) -> None:
    assert builtin.is_builtin(name)
    with pytest.raises(InputError, match=f'tasks.data: "{name}" may ask for 1 to 1,048,576 strings') as error:
        sources.load(BUILTIN["memorization"], name, tmp_path, silent)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("memorization", "mine.csv", 'memorization accepts only "random-strings"'),
        ("memorization", "hub:a/b", 'memorization accepts only "random-strings"'),
        ("memorization", {"train": "mine.csv"}, 'memorization accepts only "random-strings"'),
        ("memorization", "sentiment", '"sentiment" is for classification, not for memorization'),
        ("translation", "random-strings:5", '"random-strings:5" is for memorization, not for translation'),
        ("memorization", "random-string", 'memorization accepts only "random-strings"'),
    ],
)
def test_only_strings_whose_bits_are_known_are_memorized(
    kind: str, data: str | dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        sources.load(BUILTIN[kind], data, tmp_path, silent)
