"""Pages in a real browser: no serious finding of axe, in light, dark and print, and nothing wider than a phone."""

from pathlib import Path
from typing import Any

import pytest
import synthetic
from reference_pages import build_script, copy_tables
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, Further
from tiny_runs import trained, write_data

from archbench import reports
from archbench.inspection import inspect as inside
from archbench.inspection.pages import page as inspection

pytestmark = pytest.mark.browser

REFERENCE_PAGES = ("public", "ablation-tying", "inside/shakespeare-decoder")
PHONE = {"width": 360, "height": 740}
A4 = {"width": 794, "height": 1123}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section: conditions, controls, parts of the budget, trials, failures."""
    root = tmp_path_factory.mktemp("store")
    further = [*synthetic.controls(PHRASES, half=0.2)]
    for task in (PHRASES, SENTIMENT, SHAKESPEARE):
        further += [Further(task, name, name, 0.3, role="share", share=0.5) for name in task.truth]
        further += [Further(task, name, name, 0.5, role="compared", condition="AdamW") for name in task.truth]
        further += [
            Further(
                task, name, name, 0.5, role="trial", changes=dict(learning_rate=rate, validation_loss=1.0, dropout=0)
            )
            for name in task.truth
            for rate in (0.003, 0.006)
        ]
    runs = synthetic.write_store(root, further=further)
    synthetic.fail(root, runs[0])
    return reports.build(root)[0]


@pytest.fixture(scope="module")
def inside_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is inside a run with cross-attention and snapshots."""
    folder = write_data(tmp_path_factory.mktemp("data"))
    run = trained(folder, folder / "tiny", "encoder-decoder", "turned", snapshots=2)
    inside.inspect(run, "red house 3", folder / "page", lambda line: None)
    return inspection.write(inspection.read(folder / "page"), folder / "page")[0]


@pytest.fixture(params=["page_file", "inside_file"])
def any_file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def opened(browser: Any, file: Path, viewport: dict[str, int], **options: Any) -> Any:
    """The page with everything unfolded; scripts of its own it has none."""
    page = browser.new_context(viewport=viewport, bypass_csp=True, **options).new_page()
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_nothing_serious(browser: Any, any_file: Path, scheme: str, viewport: dict[str, int]) -> None:
    assert serious(opened(browser, any_file, viewport, color_scheme=scheme)) == []


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the reference pages, made from their tables."""
    root = copy_tables(tmp_path_factory.mktemp("reference"), REFERENCE_PAGES)
    build_script().build(root, lambda line: None)
    return root


@pytest.mark.parametrize("place", [*(f"{name}/report" for name in REFERENCE_PAGES), "."])
def test_axe_finds_nothing_serious_in_a_reference_page(browser: Any, reference: Path, place: str) -> None:
    assert serious(opened(browser, reference / place / "index.html", DESK)) == []


def serious(page: Any) -> list[str]:
    """What axe finds that is serious or worse."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    violations = axe.run(page).response["violations"]
    return [f"{rule['id']}: {rule['help']} ({len(rule['nodes'])}): {rule['nodes'][0]['html'][:200]}"
            for rule in violations if rule["impact"] in ("serious", "critical")]  # fmt: skip


def test_nothing_is_wider_than_a_phone(browser: Any, any_file: Path) -> None:
    page = opened(browser, any_file, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_on_a_phone_every_verdict_stands_on_the_screen_beside_its_data_set(browser: Any, page_file: Path) -> None:
    page = opened(browser, page_file, PHONE)
    cells = page.locator("#bottom-line td")
    right = "nodes => Math.max(...nodes.map(node => node.getBoundingClientRect().right))"
    assert cells.count() and cells.evaluate_all(right) <= PHONE["width"]
    heads = page.locator("#bottom-line thead th").all_inner_texts()[1:]
    columns = cells.evaluate_all("nodes => nodes.map(node => node.dataset.column)")
    assert {head.splitlines()[0] for head in heads} == set(columns)


def test_printed_on_a4_no_verdict_is_cut(browser: Any, page_file: Path) -> None:
    page = opened(browser, page_file, A4)
    page.emulate_media(media="print")
    wide = "nodes => nodes.filter(n => n.getBoundingClientRect().right > innerWidth).length"
    assert page.locator(".short, .card, figure, .note").evaluate_all(wide) == 0


def test_the_page_asks_for_nothing_from_outside(browser: Any, any_file: Path) -> None:
    page = browser.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(any_file.as_uri())
    assert requested == [any_file.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_holds_a_line_each_an_example_and_a_figure(browser: Any, page_file: Path, scheme: str) -> None:
    page = opened(browser, page_file, DESK, color_scheme=scheme)
    bottom = "element => element.getBoundingClientRect().bottom"
    for part in (".lines", ".sample >> nth=0", ".panel >> nth=0"):
        assert page.locator(f"#bottom-line {part}").evaluate(bottom) < DESK["height"], part
    words = page.locator("#bottom-line td.wins, #bottom-line td.loses, #bottom-line td.open")
    colours = words.evaluate_all("cells => cells.map(each => [each.className, getComputedStyle(each).color])")
    assert len({colour for _, colour in colours}) == len({kind for kind, _ in colours}) > 1
