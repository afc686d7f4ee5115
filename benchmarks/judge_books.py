"""Judge what is read of books, and what each rule of front and back matter changes.

    python benchmarks/judge_books.py FOLDER              # of the corpus, or any EPUBs
    python benchmarks/judge_books.py FOLDER --propose    # rows for those not listed

Each EPUB that tests/books/corpus.toml lists by its digest is held against the verdict
on its documents; differences are printed, and the exit status is 1. Then each rule is
switched off in turn: the table says which books it changes, by how many words, and how
many documents it decides rightly or wrongly by the verdicts. `book_corpus.py` collects
the EPUBs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from book_corpus import CORPUS, ListedBook, listed_books

from pytest_memleak.books import (
    compose_manuscript,
    epub,
    front_and_back_matter,
    select_documents,
)
from pytest_memleak.books.text_blocks import SpineDocument
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

# --- rules, and how to switch each off
# -----------------------------------------------------------------------------

_Replacement = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that decides what is text.

    name:    in the table, and as a reason of the corpus
    reason:  pattern of what the rule says of a document, "" if it leaves out parts only
    module, function: where it is
    without: makes what replaces that function, from it, to switch the rule off
    """

    name: str
    reason: str
    module: ModuleType
    function: str
    without: Callable[[_Replacement], _Replacement]

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Replace the rule's function."""
        original = getattr(self.module, self.function)
        with patch.object(self.module, self.function, self.without(original)):
            yield


def _returns(value: object) -> Callable[[_Replacement], _Replacement]:
    return lambda _: lambda *_args, **_options: value


def _returns_its_argument(_: _Replacement) -> _Replacement:
    return lambda argument, *_args, **_options: argument


def _without_role(role: str) -> Callable[[_Replacement], _Replacement]:
    def without(original: _Replacement) -> _Replacement:
        return lambda leaves: original([leaf for leaf in leaves if leaf.role != role])

    return without


def _without_labels(original: _Replacement) -> _Replacement:
    def with_linked_notes(leaves: Sequence[SpineDocument]) -> Any:
        return original([_unlabeled(leaf) for leaf in leaves])

    return with_linked_notes


def _unlabeled(leaf: SpineDocument) -> SpineDocument:
    blocks = tuple(replace(block, matter="") for block in leaf.markup.everything)
    return replace(leaf, markup=replace(leaf.markup, everything=blocks))


def _only_where(*, listed: bool) -> Callable[[_Replacement], _Replacement]:
    """Keep the rule on titles for documents that the contents list, or for others."""

    def without(original: _Replacement) -> _Replacement:
        def by_title(leaf: SpineDocument, kinds: Mapping[str, str | None]) -> Any:
            return original(leaf, kinds) if (leaf.name in kinds) == listed else None

        return by_title

    return without


def _without_rule(text: str) -> Callable[[_Replacement], _Replacement]:
    """Drop the documents with such a rule from what a function returns."""

    def without(original: _Replacement) -> _Replacement:
        def kinds(*arguments: Any) -> Any:
            results = original(*arguments).items()
            return {name: kind for name, kind in results if kind.rule != text}

        return kinds

    return without


_SELECT = select_documents
_MATTER = front_and_back_matter
_COMPOSE = compose_manuscript

RULES = (
    Rule(
        "navigation document",
        "it is the navigation document",
        _SELECT,
        "_rules_of_package",
        _without_role("navigation"),
    ),
    Rule(
        "not linear",
        "the spine marks it",
        _SELECT,
        "_rules_of_package",
        _without_role("not linear"),
    ),
    Rule(
        "label in markup",
        "its markup labels it",
        _SELECT,
        "with_linked_notes",
        _without_labels,
    ),
    Rule(
        "landmark",
        "the landmarks place it",
        _SELECT,
        "_rules_of_landmarks",
        _returns({}),
    ),
    Rule(
        "title in the contents",
        "the table of contents lists it as",
        _MATTER,
        "_exclusion_by_title",
        _only_where(listed=False),
    ),
    Rule(
        "first line",
        "its first line marks it as",
        _MATTER,
        "_exclusion_by_title",
        _only_where(listed=True),
    ),
    Rule(
        "mostly a notice",
        "most of it is a copyright notice",
        _MATTER,
        "_is_notice",
        _returns(value=False),
    ),
    Rule(
        "title page",
        "it contains little more than the book's title",
        _MATTER,
        "_is_title_page",
        _returns(value=False),
    ),
    Rule(
        "small, before the chapters",
        "it comes before the first chapter",
        _MATTER,
        "_exclusions_at_ends",
        _without_rule(
            "it comes before the first chapter and isn't in the table of contents"
        ),
    ),
    Rule(
        "names the author",
        "it names the author throughout",
        _MATTER,
        "_documents_naming_author",
        _returns(()),
    ),
    Rule(
        "preview",
        "it follows other matter",
        _MATTER,
        "_previews_of_other_books",
        _returns(()),
    ),
    Rule(
        "repeated",
        "it repeats ",
        _SELECT,
        "_repeated_documents",
        _returns({}),
    ),
    Rule("linked notes", "", _SELECT, "with_linked_notes", _returns_its_argument),
    Rule(
        "notice",
        "",
        _COMPOSE,
        "with_notices_at_ends_marked",
        _returns_its_argument,
    ),
    Rule(
        "contents list",
        "",
        _COMPOSE,
        "with_contents_marked",
        _returns_its_argument,
    ),
    Rule(
        "publisher's page",
        "",
        _COMPOSE,
        "with_publisher_pages_marked",
        _returns_its_argument,
    ),
    Rule(
        "Gutenberg's license",
        "",
        _COMPOSE,
        "with_license_marked",
        _returns_its_argument,
    ),
)


def reason_of(rule: str) -> str:
    """Return the name of the rule that says this of a document."""
    for each in RULES:
        if each.reason and rule.startswith(each.reason):
            return each.name
    raise ValueError(f"no rule of benchmarks/judge_books.py says {rule!r}")


# --- what is read of a book
# -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a book.

    words:  that are measured, of any script
    cut:    the reason of each document that isn't text
    within: words of the other documents that aren't measured, by their kind
    names:  of all documents
    error:  why the book is rejected, if it is
    """

    words: int = 0
    cut: Mapping[str, str] = field(default_factory=dict)
    within: Mapping[str, int] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    error: str = ""


def _reading(manuscript: Manuscript) -> Reading:
    parts = manuscript.parts
    cut = {part.name: reason_of(part.rule) for part in parts if not part.kept}
    within: dict[str, int] = {}
    for each in manuscript.cuts:
        if each.document not in cut:
            within[each.rule] = within.get(each.rule, 0) + each.words
    return Reading(
        words=sum(part.words for part in parts),
        cut=cut,
        within=dict(sorted(within.items())),
        names=frozenset(part.name for part in parts),
    )


@dataclass(slots=True)
class ParsedBook:
    """An EPUB that is parsed once and composed under changed rules.

    arguments, options: of `compose_manuscript`, once it is parsed
    acting: names of the rules that decide something in this book
    """

    path: Path
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    acting: set[str] = field(default_factory=set)

    def read(self) -> Reading:
        """Parse the file, and read it under the rules as they are."""

        def keep_arguments(*arguments: Any, **options: Any) -> Manuscript:
            self.arguments = arguments
            self.options = options
            with _watched_rules(self.acting):
                return _compose(*arguments, **options)

        with patch.object(epub, "compose_manuscript", keep_arguments):
            try:
                return _reading(epub.read_epub(self.path))
            except BookError as error:
                return Reading(error=error.message)

    def read_without(self, rule: Rule, before: Reading) -> Reading:
        """Read the parsed file with a rule switched off; `before` is with all rules."""
        if rule.name not in self.acting:
            return before
        with rule.switched_off():
            try:
                return _reading(_compose(*self.arguments, **self.options))
            except BookError as error:
                return Reading(error=error.message)


_compose = compose_manuscript.compose_manuscript


@contextmanager
def _watched_rules(acting: set[str]) -> Iterator[None]:
    """Add the names of the rules whose functions return more than without them."""
    with ExitStack() as stack:
        for rule in RULES:
            # Rules of one function are patched over each other, and all watched.
            function = getattr(rule.module, rule.function)
            watched = _watched(rule, function, acting)
            stack.enter_context(patch.object(rule.module, rule.function, watched))
        yield


def _watched(rule: Rule, function: _Replacement, acting: set[str]) -> _Replacement:
    without_rule = rule.without(function)

    def watched(*arguments: Any, **options: Any) -> Any:
        result = _listed(function(*arguments, **options))
        if _listed(without_rule(*arguments, **options)) != result:
            acting.add(rule.name)
        return result

    return watched


def _listed(result: Any) -> Any:
    """Return an iterator's items as a tuple, and anything else as it is."""
    return tuple(result) if isinstance(result, Iterator) else result


# --- against the verdicts
# -----------------------------------------------------------------------------


def differences(book: ListedBook, reading: Reading) -> Iterator[str]:
    """Yield how a reading differs from what is listed."""
    if reading.error != book.refused:
        yield f"refused: {reading.error or 'no more'}"
        return
    now = set(reading.cut)
    for name in sorted(now - book.cut_by_rules):
        judged = "rightly" if name in book.judged_cut else "wrongly"
        yield f"{name} is left out now, {judged} ({reading.cut[name]})"
    for name in sorted(book.cut_by_rules - now):
        judged = "wrongly" if name in book.judged_cut else "rightly"
        yield f"{name} is read now, {judged}"
    if reading.words != book.words:
        yield f"{reading.words:,} words instead of {book.words:,}"
    for kind in sorted({*reading.within, *book.within}):
        before = book.within.get(kind, 0)
        count = reading.within.get(kind, 0)
        if count != before:
            yield f"{kind} within documents: {count:,} words instead of {before:,}"


def wrong_documents(book: ListedBook, reading: Reading) -> int:
    """Return how many documents a reading decides against the verdict."""
    judged = book.judged_cut & reading.names
    return len(judged ^ set(reading.cut))


# --- the table of rules
# -----------------------------------------------------------------------------


@dataclass(slots=True)
class RuleEffect:
    """What switching a rule off changes, in all books.

    books:      that change
    more, less: words that are read beyond, or no more
    right, wrong: documents that the rule decides by the verdict, or against it
    most:       book that changes most, and by how many words
    """

    books: int = 0
    more: int = 0
    less: int = 0
    right: int = 0
    wrong: int = 0
    most: tuple[int, str] = (0, "")

    def add(
        self,
        title: str,
        before: Reading,
        without: Reading,
        book: ListedBook | None,
    ) -> None:
        """Count one book, read with the rule and without it."""
        have_same_cut = set(before.cut) == set(without.cut)
        if have_same_cut and before.words == without.words:
            return
        self.books += 1
        change = without.words - before.words
        self.more += max(change, 0)
        self.less += max(-change, 0)
        self.most = max(self.most, (abs(change), title))
        if book is not None:
            decided = wrong_documents(book, without) - wrong_documents(book, before)
            self.right += max(decided, 0)
            self.wrong += max(-decided, 0)


def table_of(effects: Mapping[str, RuleEffect]) -> str:
    """Return the effects of all rules in Markdown."""
    columns = (
        "without the rule",
        "books that change",
        "words more",
        "words less",
        "decided rightly",
        "decided wrongly",
        "most in",
    )
    lines = [
        f"| {' | '.join(columns)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, effect in effects.items():
        words, title = effect.most
        most = f"{title} ({words:,})" if words else ""
        lines.append(
            f"| {name} | {effect.books} | {effect.more:,} | {effect.less:,} "
            f"| {effect.right} | {effect.wrong} | {most} |"
        )
    return "\n".join(lines)


# --- proposals
# -----------------------------------------------------------------------------


def proposal(path: Path, digest: str, reading: Reading, title: str) -> str:
    """Return a row for the corpus, with what the program says of each document."""
    lines = [
        "[[book]]",
        f"title = {_quoted(title)}",
        *(f'{key} = ""' for key in ("repository", "commit", "path")),
        f'sha256 = "{digest}"',
        *(f'{key} = ""' for key in ("language", "maker", "license")),
    ]
    if reading.error:
        lines.append(f"refused = {_quoted(reading.error)}")
    lines.append(f"words = {reading.words}")
    lines += verdict_lines(reading)
    return "\n".join([f"# {path.name}", *lines, ""])


def verdict_lines(reading: Reading) -> Iterator[str]:
    """Yield the documents that are left out by their reason, and the words within."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reading.cut.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in sorted(by_reason.items()):
        listed = ", ".join(map(_quoted, names))
        yield f"cut.{_quoted(reason)} = [{listed}]"
    for kind, count in reading.within.items():
        yield f"within.{_quoted(kind)} = {count}"


def _quoted(text: str) -> str:
    """Return a text as a string of TOML, which JSON's are."""
    return json.dumps(re.sub(r"\s+", " ", text), ensure_ascii=False)


# --- the folder
# -----------------------------------------------------------------------------


def score(
    paths: Sequence[Path],
    corpus: Mapping[str, ListedBook],
    *,
    propose: bool,
) -> tuple[str, bool]:
    """Return the table of rules for these EPUBs, and whether all verdicts hold.

    corpus: books by their digest
    """
    effects = {rule.name: RuleEffect() for rule in RULES}
    all_hold = True
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        book = corpus.get(digest)
        parsed = ParsedBook(path)
        reading = parsed.read()
        title = book.title if book else parsed.options.get("title") or path.stem
        if book is not None:
            for difference in differences(book, reading):
                all_hold = False
                print(f"{title} ({path.name}): {difference}", file=sys.stderr)
        elif propose:
            print(proposal(path, digest, reading, title))
        if reading.error or propose:
            continue
        for rule in RULES:
            without = parsed.read_without(rule, reading)
            effects[rule.name].add(title, reading, without, book)
    return table_of(effects), all_hold


def main() -> int:
    """Score a folder; return 1 if a verdict doesn't hold."""
    parser = argparse.ArgumentParser(description="Judge what is read of EPUBs.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--propose",
        action="store_true",
        help=f"print rows for EPUBs that {CORPUS.name} doesn't list, and no table",
    )
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.rglob("*.epub"))
    if not paths:
        parser.error(f"{arguments.folder} has no EPUB: book_corpus.py collects them")
    corpus = {book.sha256: book for book in listed_books()}
    table, all_hold = score(paths, corpus, propose=arguments.propose)
    if not arguments.propose:
        print(table)
    return int(not all_hold)


if __name__ == "__main__":
    raise SystemExit(main())
