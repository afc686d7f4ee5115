"""Each first screen in a real browser, wide and narrow, light and dark, and on paper."""

import base64

import pytest
from screen_runs import RUNS, leak

from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.reports.html.page import write_html

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DESK, PHONE = (1440, 900), (390, 844)
MOST_PAGES = {"1 pair": 5, "8 pairs": 14, "80 pairs": 40}
WITH_MAP = sorted(set(RUNS) - {"1 pair", "an expected leak"})


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
    violations, open_page, address, name, size, dark
):
    open_page(address(name), size, dark=dark)
    assert violations() == {}


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


BACKGROUNDS = """
const canvas = document.createElement("canvas").getContext("2d");
const brightness = element => {
  canvas.fillStyle = getComputedStyle(element).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
return [document.body, ...document.querySelectorAll(".heat .fail")].map(brightness);
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_cell_stands_out_more_the_more_it_exceeds_its_limit(
    browser, open_page, tmp_path, dark
):
    results = [leak("m", f"b{value}", value) for value in (39, 77, 153, 305)]
    write_html(RunReport("9", tuple(results)), tmp_path / "report.html")
    open_page((tmp_path / "report.html").as_uri(), DESK, dark=dark)
    page, *cells = browser.execute_script(BACKGROUNDS)
    contrasts = [abs(page - cell) for cell in cells]
    assert contrasts == sorted(set(contrasts))
    assert len(contrasts) == 4
