"""The code blocks of `docs/python.md` run as they stand, one after another, in an empty folder."""

import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    text = PAGE.read_text(encoding="utf-8")
    blocks = CODE.findall(text)
    assert len(blocks) == text.count("\n```python\n") >= 5
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert set(names["tables"]["runs"]["status"]) == {"done"}
    assert set(names["summary"].index) == {"decoder", "encoder-decoder"} and names["summary"].notna().all(axis=None)
    assert set(names["again"]["verdict"]) == {"same"}
    assert len(names["axes"].lines) == 4 and len(names["axes"].get_legend().get_texts()) == 2
    assert (tmp_path / "curves.png").stat().st_size and (tmp_path / "results/first/report/index.html").is_file()
    assert tuple(names["logits"].shape) == (2, 7, 100)
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert documented == set(names["tables"])
