"""A published report says the same and holds no text of the data."""

import shutil
from pathlib import Path

import pytest
import synthetic

from archbench import command_line, reports
from archbench.reports.base import tables
from archbench.reports.page.publish import check, publish, shareable
from archbench.reports.report import Report
from archbench.tasks.base.errors import InputError


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("store")
    synthetic.write_store(root)
    reports.build(root)
    public = tmp_path_factory.mktemp("public")
    publish(root, public)
    return root, public


def test_scores_intervals_and_verdicts_are_the_same(folders: tuple[Path, Path]) -> None:
    original, other = (Report(tables.read(folder / "tables")) for folder in folders)
    for first, second in zip(original.tested.primary, other.tested.primary, strict=True):
        assert (first.outcome, first.first, first.second) == (second.outcome, second.first, second.second)
        assert first.difference.standard_error == pytest.approx(second.difference.standard_error, rel=1e-4)
        assert first.difference.mean == pytest.approx(second.difference.mean)
    for mine, theirs in zip(original.first, other.first, strict=True):
        assert mine.resamples_examples and theirs.resamples_examples
        for cell, same in zip(mine.cells, theirs.cells, strict=True):
            assert (cell.interval.lower, cell.interval.upper) == pytest.approx(
                (same.interval.lower, same.interval.upper), rel=1e-4
            )


def test_no_text_of_the_data_is_in_any_file(folders: tuple[Path, Path]) -> None:
    rows = tables.read(folders[0] / "tables")["predictions"]
    texts = {text for name in ("source", "reference", "answer") for text in rows[name].dropna() if len(text) > 12}
    assert texts
    for path in folders[1].rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [text for text in texts if text.encode() in content], path


def test_its_command_names_no_folder_of_this_machine(folders: tuple[Path, Path], tmp_path: Path) -> None:
    read = tables.read(folders[0] / "tables")
    command = read["experiment"]["key"] == "command"
    read["experiment"].loc[command, "value"] = "archbench compare mine.toml --out /home/me/results --jobs 2 --seeds 3"
    shared = shareable(read)["experiment"]
    assert shared.loc[command, "value"].tolist() == ["archbench compare mine.toml --seeds 3"]


def test_it_is_rebuilt_from_its_own_tables(folders: tuple[Path, Path]) -> None:
    page = folders[1] / "report" / "index.html"
    before = page.read_bytes()
    reports.build(folders[1])
    assert page.read_bytes() == before


def test_the_command_line_publishes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["report", str(folders[0]), "--publish", str(tmp_path / "there")])
    assert stopped.value.code == 0
    assert (tmp_path / "there" / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/proc/there", "/proc/there: cannot be written"),
        ("", "--publish: is empty; name a folder"),
        ("ROOT", "is the folder of a comparison"),
        ("ROOT/runs", "is inside the folder of the comparison"),
        ("ROOT/new/there", "is inside the folder of the comparison"),
    ],
)
def test_a_place_where_nothing_is_published_is_one_line(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], place: str, message: str
) -> None:
    root = folders[0]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["report", str(root), "--publish", place.replace("ROOT", str(root))])
    assert stopped.value.code == 2
    output, errors = capsys.readouterr()
    (line,) = errors.splitlines()
    assert message in line and not output, "no report before the mistake"
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_looking_at_the_place_leaves_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    check(folders[0], tmp_path / "more" / "there")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="File exists"):
        check(folders[0], tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_comparison_is_never_published_over_itself_or_another(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root, alone = folders[0], tmp_path / "alone"
    shutil.copytree(root / "tables", alone / "tables")
    before = (alone / "tables" / "predictions.parquet").read_bytes()
    for target in (alone, tmp_path / "." / "alone", root):
        with pytest.raises(ValueError, match="is the folder of a comparison; name another one"):
            publish(alone, target)
    assert (alone / "tables" / "predictions.parquet").read_bytes() == before
