"""Each first screen in a real browser, wide and narrow, light and dark, and on paper."""

import base64
import functools
from pathlib import Path

import pytest
from screen_runs import RUNS

from pytest_memleak.reports.html.page import write_html

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DESK, PHONE = (1440, 900), (390, 844)
MOST_PAGES = {"1 pair": 5, "8 pairs": 14, "80 pairs": 40}
WITH_MAP = sorted(set(RUNS) - {"1 pair", "an expected leak"})


@functools.cache
def axe():
    """The rules that pages have to keep, as a script."""
    package = pytest.importorskip("selenium_axe_python")
    folder = Path(package.__file__).parent / "axe-core"
    return (folder / "axe.min.js").read_text(encoding="utf-8")


def violations(browser):
    """Each broken rule of accessibility, with the first element that breaks it."""
    browser.execute_script(axe())
    result = browser.execute_async_script("axe.run().then(arguments[0])")
    return {
        violation["id"]: violation["nodes"][0]["html"]
        for violation in result["violations"]
    }


@pytest.fixture
def address(tmp_path):
    """Writes the page of a run; returns its address."""

    def write(name):
        path = tmp_path / "report.html"
        write_html(RUNS[name](), path)
        return path.as_uri()

    return write


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", RUNS)
def test_a_first_screen_breaks_no_rule_of_accessibility(
    browser, open_page, address, name, size, dark
):
    open_page(address(name), size, dark=dark)
    assert violations(browser) == {}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", RUNS)
def test_a_first_screen_does_not_scroll_sideways(
    browser, open_page, address, name, size
):
    open_page(address(name), size)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", WITH_MAP)
def test_the_map_is_seen_without_scrolling(browser, open_page, address, name, size):
    open_page(address(name), size, unfolded=False)
    top, bottom = browser.execute_script(
        "const r = document.querySelector('.heat').getBoundingClientRect();"
        "return [r.top, r.bottom]"
    )
    assert 0 < top < bottom <= size[1]


@pytest.mark.parametrize("name", MOST_PAGES)
def test_a_print_has_few_pages(browser, open_page, address, name):
    pdfium = pytest.importorskip("pypdfium2")
    open_page(address(name), DESK, unfolded=False)
    settings = {"printBackground": True, "preferCSSPageSize": True}
    printed = browser.execute_cdp_cmd("Page.printToPDF", settings)
    pages = pdfium.PdfDocument(base64.b64decode(printed["data"]))
    assert 0 < len(pages) <= MOST_PAGES[name]
