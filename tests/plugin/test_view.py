"""`memleak view`: from a FAIL to the passage in its generation."""

import html
import random
import re
import shlex
import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from suite_files import write_answers, write_book

from pytest_memleak.cli.main import main
from pytest_memleak.scoring.words import words

VIEW = Path(".memleak/view.html")
EVIDENCE = "--memleak-evidence=e.json"


class Page(HTMLParser):
    """The page's elements, and its text by section."""

    def __init__(self, path=VIEW):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]

    @property
    def passages(self):
        """Each passage's heading, and its marked words in generation and book."""
        shown = []
        for section in re.findall(
            r'<section id="pair-.*?</section>', self.source, re.DOTALL
        ):
            heading = re.search(r"<h3[^>]*>(.*?)</h3>", section, re.DOTALL)[1]
            marks = re.findall(r"<mark>(.*?)</mark>", section, re.DOTALL)
            marked = [words(html.unescape(mark)) for mark in marks]
            shown.append((heading.strip(), marked))
        return shown


def next_command(result):
    (line,) = [line for line in result.outlines if line.startswith("Next: ")]
    return line.removeprefix("Next: ").partition("  (")[0]


@pytest.mark.parametrize("options", [(), (EVIDENCE,)], ids=["suite", "bundle"])
def test_the_command_of_a_fail_shows_its_passage(suite, gate, options):
    suite()
    program, *arguments = shlex.split(next_command(gate(*options, passed=1, failed=1)))
    assert program == "memleak"
    assert main(arguments) == 0
    heading, (generation, book) = Page().passages[0]
    assert heading == "Longest passage: 16 words"
    assert generation == book == words(BOOK[0])
    assert "Write about: An old superstition" in Page().source


def test_the_page_is_its_owner_s_alone(suite, capsys):
    suite()
    assert main(["view", "test.memleak.toml"]) == 0
    assert stat.S_IMODE(VIEW.stat().st_mode) == 0o600
    assert stat.S_IMODE(VIEW.parent.stat().st_mode) == 0o700
    assert "*" in (VIEW.parent / ".gitignore").read_text().splitlines()
    shown = capsys.readouterr().out
    assert "Private: this page holds text of protected books." in shown
    assert shown.splitlines()[-1] == f"Next: open {VIEW.resolve().as_uri()}"
    assert '<p class="private"' in Page().source


def test_the_page_runs_and_loads_nothing(suite):
    suite()
    main(["view", "test.memleak.toml"])
    page = Page()
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "img", "form", "object"}
    policies = [
        attrs.get("content", "") for tag, attrs in page.elements if tag == "meta"
    ]
    assert any(
        policy.startswith("default-src 'none'; style-src") for policy in policies
    )
    assert "://" not in re.sub(r"<style>.*?</style>", "", page.source, flags=re.DOTALL)


def test_links_lead_to_passages_of_the_page(suite, gate):
    suite()
    gate(EVIDENCE, passed=1, failed=1)
    main(["view", "e.json"])
    page = Page()
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    targets = [link[1:] for link in page.attributes("href") if link.startswith("#")]
    assert set(targets) <= set(ids)
    # The map has both pairs; only that which exceeds a limit is shown.
    assert page.source.count("<article") == 1
    assert {"map", "pair-2"} <= set(targets)


def test_the_worst_pair_comes_first(suite):
    suite()
    main(["view", "test.memleak.toml"])
    titles = re.findall(r"<h2[^>]*>(\w+) ", Page().source)
    assert titles == ["leaky", "clean"]


def test_older_bundles_give_a_trend(suite, gate):
    suite(leaky=CLEAN)
    gate("--memleak-evidence=old.json", passed=2)
    suite()
    gate(EVIDENCE, passed=1, failed=1)
    main(["view", "e.json", "old.json"])
    assert "← PASS 0</span>" in Page().source
    assert "Earlier: PASS 0" in Page().source


def test_a_bundle_that_no_longer_holds_is_named(suite, gate):
    suite()
    gate(EVIDENCE, passed=1, failed=1)
    suite(leaky=CLEAN)
    main(["view", "e.json"])
    assert "give PASS now, not FAIL: run memleak verify" in Page().source


@pytest.mark.parametrize("source", ["test.memleak.toml", "e.json"])
def test_an_unknown_pair_is_an_error_with_a_suggestion(suite, gate, capsys, source):
    suite()
    gate(EVIDENCE, passed=1, failed=1)
    assert main(["view", source, "--pair", "leaki/ferry"]) == 2
    assert "did you mean 'leaky/ferry'?" in capsys.readouterr().err


def test_a_bundle_far_from_its_suite_says_where_to_run(
    suite, gate, capsys, monkeypatch
):
    suite()
    gate(EVIDENCE, passed=1, failed=1)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["view", "../e.json"]) == 2
    assert "run memleak view in the folder where pytest ran" in capsys.readouterr().err


def test_hostile_text_stays_text(suite):
    bad = f'<script>alert(1)</script> {BOOK[0]} </pre> "\x1b[31m &amp; \u202e'
    suite(leaky=(bad, *CLEAN[:2]))
    main(["view", "test.memleak.toml", "--pair", "leaky/ferry"])
    source = Page().source
    assert "<script" not in source
    assert not {"\x1b", "\u202e"} & set(source)
    assert "&lt;script&gt;alert(1)" in source


GREEDY = """
[suite]
samples = 2
probe = "continuation"
prefix_words = 50
[limits]
longest_passage = 38
[[book]]
id = "tale"
source = "tale.json"
[[model]]
id = "m"
provider = "ngram"
[model.options]
order = 8
pretraining = ["tale"]
"""


def prose(count, seed):
    """Words that no other text has, in sentences."""
    draw = random.Random(seed)
    drawn = [f"{draw.choice('bdfgkl')}{draw.randrange(10**6)}" for _ in range(count)]
    sentences = [drawn[start : start + 12] for start in range(0, count, 12)]
    return " ".join(f"{' '.join(sentence).capitalize()}." for sentence in sentences)


def write_tale(name, excerpts, seed, length=150):
    texts = {f"p_id{n}": prose(length, 100 * seed + n) for n in range(excerpts)}
    facts = {"author_name": "A", "book_name": name, "detail": "A tale of a ferry."}
    write_book(f"{name}.json", texts, lambda key: f"Write about {key}.", **facts)
    return texts


def equal_marks(page):
    """How many verbatim passages and spans are shown; each mark equals the book."""
    count = 0
    for heading, marks in page.passages:
        if "near-verbatim" in heading:
            continue
        generation, book = marks
        assert generation == book, heading
        assert f": {len(book):,} words" in heading
        count += 1
    return count


def test_greedy_generations_and_rests_are_placed(pytester):
    write_tale("tale", 3, seed=7)
    Path("s.memleak.toml").write_text(GREEDY)
    assert pytester.runpytest("-m", "copyright", "-q").ret == 1
    assert main(["view", "s.memleak.toml"]) == 0
    page = Page()
    assert equal_marks(page) >= 2
    assert "<summary>The prompt</summary>" in page.source


def test_a_bundle_without_its_ledger_is_an_error(pytester, capsys):
    write_tale("tale", 2, seed=7)
    Path("s.memleak.toml").write_text(GREEDY)
    pytester.runpytest("-m", "copyright", "-q", EVIDENCE)
    Path(".memleak").rename("gone")
    assert main(["view", "e.json"]) == 2
    message = capsys.readouterr().err
    assert "no such ledger" in message
    assert "name it with --ledger URL" in message
    assert main(["view", "e.json", "--ledger", "gone/ledger.db"]) == 0


RECORDED = """
[suite]
samples = 3
[limits]
longest_passage = 38
nv_longest_passage = 38
[[book]]
id = "tale"
source = "tale.json"
[[model]]
id = "m"
provider = "recorded"
options = { path = "m.json" }
"""


def test_a_near_verbatim_passage_is_marked_up_to_its_last_match(pytester):
    texts = write_tale("tale", 3, seed=3)
    changed = texts["p_id0"].split()[20:100]
    for place in range(9, 80, 10):
        changed[place] = f"changed{place}"
    leaky = f"{prose(30, 1)} {' '.join(changed)} {prose(30, 2)}"
    answers = {key: [prose(120, key + str(n)) for n in range(3)] for key in texts}
    answers["p_id1"][2] = leaky
    write_answers("m.json", answers)
    Path("s.memleak.toml").write_text(RECORDED)
    assert main(["view", "s.memleak.toml"]) == 0
    page = Page()
    (near,) = [marks for heading, marks in page.passages if "near" in heading]
    generation, book = near
    assert generation[0] == book[0]
    assert generation[-1] == book[-1]
    assert {"changed9", "changed19"} <= set(generation)
    assert len(set(generation) & set(book)) >= 65
    assert "prompted for p_id1, generation 2" in page.source


@pytest.mark.full
def test_every_mark_of_eighty_pairs_equals_the_book(pytester):
    draw = random.Random(5)
    books = {f"b{n}": write_tale(f"b{n}", 3, seed=n) for n in range(10)}
    parts = ["[suite]\nsamples = 3\n[limits]\nlongest_passage = 38\n"]
    parts += [f'[[book]]\nid = "{b}"\nsource = "{b}.json"\n' for b in books]
    for number in range(8):
        options = f'{{ path = "m{number}-{{book}}.json" }}'
        model = f'id = "m{number}"\nprovider = "recorded"\noptions = {options}\n'
        parts.append(f"[[model]]\n{model}")
        for book, texts in books.items():
            answers = {}
            for key, text in texts.items():
                source = draw.choice([text, *books[draw.choice([*books])].values()])
                start = draw.randrange(60)
                run = " ".join(source.split()[start : start + draw.randrange(5, 80)])
                lead = prose(40, draw.random())
                leaks = number < 6 and draw.random() < 0.7
                answers[key] = [
                    f"{lead} {run if leaks else ''} {prose(80, draw.random())}"
                    for _ in range(3)
                ]
            write_answers(f"m{number}-{book}.json", answers)
    Path("s.memleak.toml").write_text("\n".join(parts))
    pytester.runpytest("-m", "copyright", EVIDENCE)
    assert main(["view", "e.json"]) == 0
    page = Page()
    assert page.source.count("<article") >= 40
    assert equal_marks(page) >= 80
    texts = {name: words(" ".join(tale.values())) for name, tale in books.items()}
    places = re.findall(r"<p>(b\d): .*?, words ([\d,]+)–([\d,]+);", page.source)
    shown = [marks for heading, marks in page.passages if "near" not in heading]
    assert len(places) == len(shown)
    for (book, *ends), (generation, _) in zip(places, shown, strict=True):
        start, end = (int(number.replace(",", "")) for number in ends)
        assert generation == texts[book][start:end]


def test_a_suite_that_never_ran_has_no_page(pytester, capsys):
    write_tale("tale", 2, seed=7)
    Path("s.memleak.toml").write_text(GREEDY)
    assert main(["view", "s.memleak.toml"]) == 2
    error = capsys.readouterr().err
    assert "sample them first: pytest -m copyright s.memleak.toml" in error
    assert not VIEW.exists()


def test_a_ledger_that_is_named_and_missing_is_an_error_of_a_suite_s_view(
    suite, capsys
):
    suite()
    assert main(["view", "test.memleak.toml", "--ledger", "nope.db"]) == 2
    error = capsys.readouterr().err
    assert "nope.db: no such ledger, so no generation can be shown" in error
