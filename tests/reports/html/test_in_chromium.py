"""The HTML report in a real browser: nothing runs, nothing leaves, and everyone can read it."""

import base64
import functools
import http.server
import itertools
import json
import re
import threading

import pytest
from result_fixtures import spoil

from pytest_memleak.records import Limits
from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.reports.html.page import write_html

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DESK, PHONE = (1280, 900), (390, 844)

# What a script of a model would do; the page's title, or a global, would say that it
# did.
SCRIPTS = [
    "<script>window.ran = 1; document.title = 'ran'; fetch('/stolen')</script>",
    '"><img src=/stolen.png onerror="window.ran = 1">',
    "' autofocus onfocus='window.ran = 1' x='",
    "</style></title></textarea></svg><svg onload='window.ran = 1'><iframe "
    "src=/stolen>",
    "<style>@import '/stolen.css'; * { background: url(/stolen) }</style>",
    "<link rel=stylesheet href=/stolen.css><meta http-equiv=refresh "
    "content='0;url=/stolen'>",
    "<a href='javascript:window.ran=1'>x</a><base href=//x.invalid/><form "
    "action=/stolen>",
    "\x1b[31mred\x07 \u202eleft \u2066in\u2069 \x00 \ud800",
    "x" * 5_000_000,
]


@pytest.fixture(scope="module")
def findings(make_book, recite, make_result):
    """A leak, a milder model, one that says nothing of the book, and one without evidence."""
    book = make_book()
    loud = make_result(
        book, recite(book, run=200, samples=12), model="leaky", quoted=None, samples=12
    )
    return (
        loud,
        make_result(
            book, recite(book, run=12, seed=3), model="mild", limits=Limits(bmc=0.9)
        ),
        make_result(book, recite(book, run=60), model="wanted", expected="leak"),
        make_result(book, [], model="silent", issues=("the server did not answer",)),
    )


@pytest.fixture
def served(tmp_path):
    """The folder whose files are served, and its address."""
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path)
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def requests(browser):
    log = [
        json.loads(entry["message"])["message"]
        for entry in browser.get_log("performance")
    ]
    return [
        one["params"]["request"]["url"]
        for one in log
        if one["method"] == "Network.requestWillBeSent"
    ]


@pytest.fixture
def page(tmp_path, findings):
    path = tmp_path / "report.html"
    write_html(RunReport("9.9", findings), path)
    return path.as_uri()


@pytest.mark.parametrize("bad", SCRIPTS, ids=range(len(SCRIPTS)))
def test_a_model_s_text_is_inert(browser, open_page, served, findings, bad):
    folder, address = served
    long = len(bad) > 1000
    # The book's own text is not bounded: only names, reasons and quotes are.
    hostile = tuple(spoil(finding, bad, text=not long) for finding in findings)
    write_html(RunReport(bad, hostile), folder / "report.html")
    url = f"{address}/report.html"
    open_page(url, PHONE)
    assert browser.execute_script("return window.ran") is None
    assert browser.title.startswith("Memorization report")
    assert browser.current_url == url
    # The empty icon is in the page itself: it stops browsers from asking for
    # /favicon.ico.
    assert {request for request in requests(browser) if request != "data:,"} == {url}
    assert browser.get_log("browser") == []
    assert (
        browser.execute_script("return document.documentElement.scrollWidth")
        <= PHONE[0]
    )
    kinds = "script, iframe, img, form, base, textarea, a:not([href^='#'])"
    assert (
        browser.execute_script(f'return document.querySelectorAll("{kinds}").length')
        == 0
    )


def test_the_content_policy_blocks_scripts_and_images(
    browser, open_page, tmp_path, findings
):
    """The second line of defence: the policy is in force, not only in the source."""
    path = tmp_path / "report.html"
    write_html(RunReport("9.9", findings), path)
    broken = path.read_text().replace(
        "</main>",
        "<script>window.ran = 1</script><img src=http://127.0.0.1:9/x.png></main>",
    )
    path.write_text(broken)
    open_page(path.as_uri())
    assert browser.execute_script("return window.ran") is None
    log = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert log.count("Content Security Policy") >= 2


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = text => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(
    v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * x + .7152 * y + .0722 * z;
};
const behind = element => {
  for (; element; element = element.parentElement) {
    const found = rgb(getComputedStyle(element).backgroundColor);
    if (found[3] == 255) return found;
  }
  return [255, 255, 255];
};
const poor = new Set();
let seen = 0;
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const svg = element.namespaceURI.endsWith('svg');
  if (svg && element.tagName != 'text') continue;
  const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(behind(element))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  const large = parseFloat(style.fontSize) >= 24;
  seen += 1;
  if (ratio < (large ? 3 : 4.5))
    poor.add(`${element.tagName}.${element.getAttribute('class')} ${ratio.toFixed(2)}`);
}
return [seen, [...poor]];
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_text_contrasts_with_its_background(browser, open_page, page, size, dark):
    open_page(page, size, dark=dark)
    colour = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor"
    )
    assert (int(colour.split("(")[1].split(",")[0]) < 60) is dark  # its red
    seen, poor = browser.execute_script(CONTRAST)
    assert seen > 300
    assert poor == []
    marks = {
        element.get_attribute("class")
        for element in browser.find_elements("tag name", "mark")
    }
    assert marks == {"h1", "h2", "h3", "h4", "h5"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_report_breaks_no_rule_of_accessibility(
    violations, open_page, page, size, dark
):
    open_page(page, size, dark=dark)
    assert violations() == {}


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_elements_fit_the_page_s_width(browser, open_page, page, width):
    open_page(page, (width, 800))
    assert (
        browser.execute_script("return document.documentElement.scrollWidth") <= width
    )
    wide = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter(one => "
        "!one.closest('.scroll, "
        "svg, .unseen, thead') && one.getBoundingClientRect().right > innerWidth + 1)"
        ".map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []


def press(browser, key):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    ActionChains(browser).send_keys(getattr(Keys, key)).perform()


def test_the_first_tab_reaches_a_link_to_the_results(browser, open_page, page):
    open_page(page)
    press(browser, "TAB")
    first = browser.switch_to.active_element
    assert first.text == "Skip to the results"
    assert first.is_displayed()
    assert browser.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return r.left >= 0 && r.top "
        ">= 0",
        first,
    )


def test_an_element_with_focus_has_an_outline(browser, open_page, page):
    open_page(page)
    press(browser, "TAB")
    outlines = set()
    for _ in range(12):
        press(browser, "TAB")
        element = browser.switch_to.active_element
        outlines.add(element.value_of_css_property("outline-style"))
    assert outlines == {"solid"}


def test_the_enter_key_opens_folded_evidence(browser, open_page, page):
    open_page(page)
    summary = browser.find_element("css selector", "details > summary")
    folded = browser.execute_script(
        "arguments[0].parentElement.open = false; arguments[0].focus(); return "
        "arguments[0]",
        summary,
    )
    press(browser, "ENTER")
    assert browser.execute_script("return arguments[0].parentElement.open", folded)


@pytest.fixture
def accessible(browser, open_page, page):
    """The role and name of each element that a screen reader meets."""
    open_page(page)
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and "role" in node
    ]


LANDMARKS = {"banner", "navigation", "main", "table", "rowheader", "columnheader"}
NAMED_ROLES = {"image", "img", "table", "link", "region"}


def test_a_screen_reader_meets_landmarks_and_named_elements(accessible):
    assert {role for role, _ in accessible} >= LANDMARKS
    assert all(name for role, name in accessible if role in NAMED_ROLES)


def test_a_screen_reader_is_told_what_an_image_shows(accessible):
    images = [name for role, name in accessible if role in {"image", "img"}]
    begin = "Coverage against the number of samples"
    assert any(name.startswith(begin) for name in images)
    assert any("reproduced: " in name for name in images)


def test_headings_skip_no_level(browser, open_page, page):
    open_page(page)
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map(one => "
        "+one.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def show(browser, kind):
    browser.execute_script(
        "document.querySelector(arguments[0]).click()", f"label:has(#show-{kind})"
    )


def test_the_contents_filter_by_verdict(browser, open_page, page):
    open_page(page)
    articles = browser.find_elements("tag name", "article")
    links = browser.find_elements("css selector", "nav li[class^=is-]")
    assert [shown.is_displayed() for shown in (*articles, *links)] == [True] * 8
    show(browser, "fail")
    assert [article.is_displayed() for article in articles] == [
        True,
        False,
        False,
        False,
    ]
    assert [link.is_displayed() for link in links] == [True, False, False, False]
    rows = browser.find_elements("css selector", ".overview tbody tr")
    assert sum(row.is_displayed() for row in rows) == 1
    show(browser, "all")
    assert all(article.is_displayed() for article in articles)


@pytest.mark.parametrize("number", [1, 3, 4])
def test_the_contents_show_the_current_section(browser, open_page, page, number):
    from selenium.webdriver.support.wait import WebDriverWait

    open_page(page)
    # A little below its top: at the very edge either section may count.
    browser.execute_script(
        "window.scrollTo({top: document.getElementById(arguments[0]).offsetTop + 40, "
        "behavior: 'instant'})",
        f"pair-{number}",
    )
    find = "return document.querySelector('nav a:target-current').hash"
    WebDriverWait(browser, 10).until(
        lambda browser: browser.execute_script(find) == f"#pair-{number}",
        f"pair-{number} is not current",
    )


def printed(browser):
    """The text of each page as it prints, with folded evidence folded as a reader has left it."""
    pdfium = pytest.importorskip("pypdfium2")
    pdf = browser.execute_cdp_cmd(
        "Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True}
    )
    pages = pdfium.PdfDocument(base64.b64decode(pdf["data"]))
    texts = [page.get_textpage().get_text_range() for page in pages]
    return [" ".join(text.split()) for text in texts], [
        page.get_size() for page in pages
    ]


@pytest.fixture
def paper(browser, open_page, page):
    """Text and size of the pages that print where evidence is folded and filtered."""
    open_page(page, PHONE)
    show(browser, "fail")
    browser.execute_script(
        "document.querySelectorAll('details').forEach(one => one.open = false)"
    )
    return printed(browser)


def test_a_printed_page_has_its_number_and_a_running_head(paper):
    pages, _ = paper
    for number, text in enumerate(pages, 1):
        assert "Memorization report · FAIL: x.memleak.toml" in text
        assert f"{number} / {len(pages)}" in text


def test_folded_and_filtered_evidence_prints(paper, findings):
    whole = " ".join(paper[0])
    assert whole.count("Endpoint ep") == len(findings)
    assert whole.count("Evidence and settings") == len(findings)
    assert whole.count("BMC by samples per excerpt") == 3
    assert whole.count(findings[0].book.sha256) >= len(findings)


def test_the_overview_prints_on_a_landscape_page(paper):
    pages, sizes = paper
    [overview] = [n for n, text in enumerate(pages) if "Overview One row" in text]
    assert sizes[overview][0] > sizes[overview][1]
    assert "Pair Verdict longest_" in pages[overview]


def test_the_first_printed_page_has_the_result(paper):
    first = paper[0][0]
    assert all(shown in first for shown in ("✗ FAIL", "Worst passage", "Next"))


def test_a_heading_prints_on_the_page_of_its_section(paper):
    pages, _ = paper
    [limits] = [text for text in pages if "Limits and their source" in text]
    assert "Set by bmc" in limits
    for text in pages:
        if "Map of the book" in text:
            assert "Longest block" in text
        if "Coverage and samples" in text:
            assert "samples per excerpt" in text
        if "Longest spans" in text:
            assert re.search(r"Longest spans .*Prompted", text)


def test_paper_is_white_and_has_no_navigation(browser, open_page, page):
    open_page(page, dark=True)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": "print", "features": []}
    )
    ground = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor"
    )
    assert ground == "rgb(255, 255, 255)"
    assert not browser.find_element("css selector", "nav").is_displayed()
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert len(pdf["data"]) > 20_000
