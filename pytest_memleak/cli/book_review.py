"""Is this your book? The screen that shows it, and the answers at a terminal."""

from __future__ import annotations

import glob
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.cli.suite_template import BookReview
from pytest_memleak.cli.terminal_output import output_width, print_error, print_sentence
from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.records import Scoring

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_memleak.books.book_outline import BookOutline
    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.records import Book, WordMode

NO_SUITE = (
    "No suite was written. If only a cut or a chapter was wrong, answer +a or -1 "
    "instead; else use a different file of the book."
)
NOT_ASKED = "The book isn't approved, since no one was asked: memleak doctor shows it."
_QUESTION = "Is this your book? [y/N; -1 leaves out chapter 1{cuts}] "
_CUTS = ", +a reads cut a"
_READ = re.compile(r"\+\s*([a-z])")
_LEAVE_OUT = re.compile(r"-\s*(\d{1,6})")


class ReviewedBook(NamedTuple):
    """What a person said of a book, and the word mode that can measure it."""

    choice: BookReview
    mode: WordMode


class _OutlinedBook(NamedTuple):
    """A book as it is read under a choice."""

    outline: BookOutline
    book: Book
    mode: WordMode


def show_book_for_review(
    path: Path,
    *,
    encoding: str | None = None,
    asked: bool,
) -> ReviewedBook | None:
    """Print what is read of a book, and ask; None if it is the wrong one.

    asked: whether someone can answer; else nothing is approved
    Raises BookError for a book that can't be read or measured, SettingsError for a
    folder.
    """
    from pytest_memleak.reports.book_screen import shown_cuts

    _validate_file(path)
    choice = BookReview()
    shown = _read_book(path, choice, encoding)
    _print_screen(shown.outline)
    while asked:
        cuts = _CUTS if shown_cuts(shown.outline) else ""
        answer = input(_QUESTION.format(cuts=cuts)).strip().lower()
        if answer in {"y", "yes"}:
            approved = _words_digest_of(shown.book)
            return ReviewedBook(replace(choice, approved=approved), shown.mode)
        if answer in {"", "n", "no"}:
            return None
        chapters_before = len(shown.outline.chapters)
        try:
            changed = apply_answer_to_review(choice, answer, shown.outline)
            shown = _read_book(path, changed, encoding)
        except (BookError, SettingsError) as error:
            print_error(str(error))
            continue
        chapters_gone = chapters_before - len(shown.outline.chapters)
        if chapters_gone > 1:
            print(f"{chapters_gone} chapters left out: they are one document")
        choice = changed
        _print_screen(shown.outline)
    print_sentence(NOT_ASKED)
    return ReviewedBook(choice, shown.mode)


def word_mode_of(path: Path, *, encoding: str | None) -> WordMode:
    """Return the word mode that can measure a book.

    Raises what `show_book_for_review` raises.
    """
    _validate_file(path)
    return _read_book(path, BookReview(), encoding).mode


def _validate_file(path: Path) -> None:
    if path.is_dir():  # which a suite takes for a folder of books
        raise SettingsError(
            "is a folder",
            location=str(path),
            hint="name the file of one book",
        )


def _read_book(
    path: Path,
    choice: BookReview,
    encoding: str | None,
) -> _OutlinedBook:
    """Read a book in the word mode that can measure it."""
    from pytest_memleak.interfaces.extensions import Extensions

    read = Extensions().read_book(
        path,
        include=choice.include,
        exclude=choice.exclude,
        encoding=encoding,
    )
    try:
        return _read_and_cut_book(path, read, "paper")
    except BookError:
        return _read_and_cut_book(path, read, "unicode")


def _read_and_cut_book(
    path: Path,
    read: Manuscript | Book,
    mode: WordMode,
) -> _OutlinedBook:
    from pytest_memleak.books.book_outline import outline_of
    from pytest_memleak.books.build_book import make_book, with_icu_version
    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.scoring.book_layout import measurable_words

    book = read
    if isinstance(book, Manuscript):
        book = make_book(str(path), book, mode=mode)
    measurable_words(book, Scoring(word_mode=mode))
    book = with_icu_version(book, mode=mode)
    return _OutlinedBook(outline_of(read, book, mode=mode), book, mode)


# --- answers


def apply_answer_to_review(
    choice: BookReview,
    answer: str,
    outline: BookOutline,
) -> BookReview:
    """Return the choice with an answer such as `+a` or `-3`.

    Raises SettingsError for any other answer, and for what has no document.
    """
    from pytest_memleak.reports.book_screen import cut_letter, shown_cuts

    if match := _READ.fullmatch(answer):
        for place, cut in enumerate(shown_cuts(outline)):
            if cut_letter(place) == match[1]:
                pattern = glob.escape(cut.document)
                return replace(
                    choice,
                    include=_with_name_added(choice.include, [pattern]),
                    exclude=_with_name_removed(choice.exclude, [pattern]),
                )
        raise SettingsError(
            f"no cut {match[1]!r} is on the screen",
            hint="name a cut by the letter before it, as in +a",
        )
    if match := _LEAVE_OUT.fullmatch(answer):
        number = int(match[1])
        if not 0 < number <= len(outline.chapters):
            raise SettingsError(
                f"no chapter {number:,}",
                hint=f"the last one is {len(outline.chapters):,}",
            )
        patterns = [*map(glob.escape, outline.chapters[number - 1].documents)]
        if not patterns:
            raise SettingsError(
                f"chapter {number:,} isn't a document of its own",
                hint="use a file without it",
            )
        return replace(
            choice,
            include=_with_name_removed(choice.include, patterns),
            exclude=_with_name_added(choice.exclude, patterns),
        )
    raise SettingsError(
        f"unknown answer {answer[:20]!r}",
        hint="y: approve; n: stop; +a: read the document of cut a in full; -1: leave "
        "out the document of chapter 1",
    )


def _with_name_added(names: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*names, *new]))


def _with_name_removed(names: tuple[str, ...], gone: Iterable[str]) -> tuple[str, ...]:
    left = set(gone)
    return tuple(name for name in names if name not in left)


# --- the screen


def approved_words_line(book: Book) -> str:
    """Return the key of a suite that approves the words of a book."""
    return f'approved = "{_words_digest_of(book)}"'


def _words_digest_of(book: Book) -> str:
    from pytest_memleak.books.build_book import words_digest

    return words_digest(book)


def print_book(
    read: Manuscript | Book,
    book: Book,
    mode: WordMode,
) -> None:
    """Print what was read as a book, and what was left out.

    read: what its reader returned; book: what was made of it
    """
    from pytest_memleak.books.book_outline import outline_of

    _print_screen(outline_of(read, book, mode=mode))


def _print_screen(outline: BookOutline) -> None:
    from pytest_memleak.reports.book_screen import screen_lines

    for line in screen_lines(outline, output_width()):
        print(line)
