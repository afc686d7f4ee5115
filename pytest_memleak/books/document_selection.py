"""Selection of a book's text: which documents and paragraphs count, by which rule, as chapters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import groupby
from operator import itemgetter

from pytest_memleak.books.boilerplate import (
    find_notices,
    kind_of_title,
    notices_in_paragraph,
    without_license,
)
from pytest_memleak.books.chapters import (
    Document,
    build_chapters,
    require_words,
    with_titles,
)
from pytest_memleak.books.document_sections import divide, file_name, with_linked_notes
from pytest_memleak.books.front_and_back_matter import (
    Exclusion,
    is_authors_preface,
    outer_matter,
)
from pytest_memleak.books.html_attributes import APPARATUS, BY_OTHERS, is_matter
from pytest_memleak.books.readable_text import reject_unreadable
from pytest_memleak.books.sentences import sentences
from pytest_memleak.books.text_blocks import Entry, Leaf, Markup, TextBlock
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import BookPart
from pytest_memleak.scoring.words import has_unspaced, words

_TEXT = "it is text"
_NOTICE, _LICENSE = "copyright notice", "license"
_BY_OTHERS = BY_OTHERS | {_NOTICE, _LICENSE}
_SHOWN = 5
_FEWEST_REPEATED = 100
_PREFACES = frozenset({"preface", "foreword", "introduction"})

# A table of contents consists of links; a landmark may call the book itself one.
_LINKS_OF_CONTENTS = 0.5
_LONGER_THAN_CONTENTS = 500


def compose(
    leaves: Sequence[Leaf],
    landmarks: Sequence[Entry],
    entries: Sequence[Entry],
    *,
    title: str | None,
    author: str | None,
    language: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    warnings: Iterable[str],
    place: str,
    hint: str = "check that the file contains the book's text",
) -> Manuscript:
    """Select the text of a book called `title` by `author`, and record each document's rule.

    `include` and `exclude` are patterns of names that override every rule; `warnings`
    are those of reading. Raises BookError, naming `place`, for a pattern that matches
    no document, text that can't be matched, or no words, with the warnings or `hint`.
    """
    leaves = with_linked_notes(leaves)
    labels = _labels(leaves, entries)
    out = {leaf.name: _ROLES[leaf.role] for leaf in leaves if leaf.role}
    kept = [leaf for leaf in leaves if leaf.name not in out]
    called: defaultdict[str, set[str]] = defaultdict(set)
    for mark in landmarks:
        called[mark.document] |= mark.terms
    prefaces = {
        leaf.name
        for leaf in kept
        if _is_preface(leaf, called[leaf.name], labels[leaf.name])
        and is_authors_preface(author, leaf, labels[leaf.name])
    }
    ignored = "ignored the {}, which would exclude most of the book"
    outside = _outside(kept, landmarks, called, prefaces)
    warnings = list(warnings)
    if _is_most(outside, kept):
        warnings.append(ignored.format("landmarks"))
    else:
        out |= outside
    if len(leaves) > 1:
        leaves, entries = divide(leaves, entries, out=out)
        labels = _labels(leaves, entries)
    whole, left_out = _chosen_documents(
        [leaf.name for leaf in leaves], include, exclude, place
    )
    listed: dict[str, str | None] = {}
    for entry in entries:
        listed.setdefault(entry.document, kind_of_title(entry.title))
    matter, stays = (
        outer_matter(leaves, listed, out=out, title=title, author=author)
        if len(leaves) > 1
        else ({}, {})
    )
    if _is_most(matter, [leaf for leaf in leaves if not leaf.role]):
        warnings.append(ignored.format("contents"))
    else:
        out |= matter
    out = {name: rule for name, rule in out.items() if name not in whole}
    out |= dict.fromkeys(left_out, Exclusion("it matches exclude", searched=False))
    warnings += [
        warning for name, warning in stays.items() if name not in whole | left_out
    ]
    texts = [leaf for leaf in leaves if leaf.name not in out]
    repeated = _repeated(texts, whole)
    out |= {
        name: Exclusion(f"its text is also in {first!r}")
        for name, first in repeated.items()
    }
    warnings += [
        f"counted the text of {name!r} once: it is also in {first!r}"
        for name, first in repeated.items()
    ]
    texts = [leaf for leaf in texts if leaf.name not in repeated]
    reject_unreadable(texts, language=language, excused=whole, place=place)
    marked = [_marked(leaf, whole=leaf.name in whole | prefaces) for leaf in texts]
    titled = with_titles(
        [
            Document(leaf.name, blocks, leaf.markup.places)
            for leaf, blocks in zip(texts, marked, strict=True)
        ],
        entries,
    )
    titled = [
        tuple(
            piece
            for block in blocks
            for piece in (
                _split_notice(block.text) if block.matter == _NOTICE else (block,)
            )
        )
        for blocks in titled
    ]
    texts_left = iter(
        without_license([b.text for bs in titled for b in bs if not b.matter])
    )
    titled = [
        tuple(_mark_license(block, texts_left) for block in blocks) for blocks in titled
    ]
    chapters = tuple(
        build_chapters(
            [[b for b in blocks if not b.matter] for blocks in titled], title=title
        )
    )
    blocks_of = dict(zip((leaf.name for leaf in texts), titled, strict=True))
    parts = tuple(
        _book_part(
            leaf,
            labels[leaf.name],
            blocks_of.get(leaf.name),
            out.get(leaf.name)
            or Exclusion("it matches include" if leaf.name in whole else _TEXT),
        )
        for leaf in leaves
    )
    # Notes of a repeated document may be its own.
    blocks_of |= {
        leaf.name: leaf.markup.everything for leaf in leaves if leaf.name in repeated
    }
    excluded = tuple(
        Chapter(f"excluded: {labels[leaf.name] or leaf.name}", paragraphs)
        for leaf in leaves
        if (
            paragraphs := _excluded_text(
                leaf, blocks_of.get(leaf.name), out.get(leaf.name)
            )
        )
    )
    require_words(chapters, place=place, hint="; ".join(warnings) or hint)
    return Manuscript(title, author, chapters, tuple(warnings), parts, excluded)


def manuscript_from_document(
    name: str,
    markup: Markup,
    *,
    title: str | None,
    author: str | None,
    warnings: Sequence[str],
    place: str,
) -> Manuscript:
    """Return the manuscript of a single-document file. Raises BookError as `compose` does."""
    return compose(
        [Leaf(name, markup)],
        (),
        (),
        title=title,
        author=author,
        warnings=(*warnings, *markup.notes),
        place=place,
    )


_ROLES = {
    "navigation": Exclusion("it is the navigation document"),
    "not linear": Exclusion('the spine marks it linear="no"'),
}


def _labels(leaves: Sequence[Leaf], entries: Sequence[Entry]) -> dict[str, str | None]:
    listed: dict[str, str] = {}
    for entry in entries:
        listed.setdefault(entry.document, entry.title)
    return {
        leaf.name: listed.get(leaf.name)
        or next(
            (b.text.replace("\n", " ") for b in leaf.markup.everything if b.level), None
        )
        for leaf in leaves
    }


def _chosen_documents(
    names: Sequence[str], include: Sequence[str], exclude: Sequence[str], place: str
) -> tuple[set[str], set[str]]:
    """Return the documents that `include` and `exclude` match, by full name or file name."""
    chosen: list[set[str]] = []
    for key, patterns in (("include", include), ("exclude", exclude)):
        chosen.append(set())
        for pattern in patterns:
            matches = {
                name
                for name in names
                if any(
                    fnmatchcase(form, pattern)
                    or fnmatchcase(form.rpartition("/")[2], pattern)
                    for form in (name, file_name(name))
                )
            }
            if not matches:
                shown = ", ".join(map(repr, names[:_SHOWN]))
                raise BookError(
                    f"{key} names {pattern!r}, which matches no document of the book",
                    location=place,
                    hint=f"its documents are {shown}"
                    + (", ..." if len(names) > _SHOWN else ""),
                )
            chosen[-1] |= matches
    both = sorted(chosen[0] & chosen[1])
    if both:
        raise BookError(
            f"include and exclude both name {both[0]!r}",
            location=place,
            hint="remove it from one of them",
        )
    return chosen[0], chosen[1]


# --- which are text
# ------------------------------------------------------------------------


def _is_preface(leaf: Leaf, called: set[str], label: str | None) -> bool:
    kinds = {block.matter for block in leaf.markup.everything if block.matter}
    # A document with several kinds of front matter is not a preface.
    return (
        bool((kinds | called | {(label or "").lower()}) & _PREFACES) and len(kinds) <= 1
    )


def _outside(
    leaves: Sequence[Leaf],
    landmarks: Sequence[Entry],
    called: Mapping[str, set[str]],
    prefaces: set[str],
) -> dict[str, Exclusion]:
    """Map the documents that landmarks or their own markup place outside the text to the rule."""
    order = {leaf.name: position for position, leaf in enumerate(leaves)}
    first, end = 0, len(leaves)
    outside: set[str] = set()
    for mark in landmarks:
        position = order.get(mark.document)
        if position is None:
            continue
        if "bodymatter" in mark.terms:
            first = first or position
        elif "backmatter" in mark.terms:
            end = min(end, position + 1 if mark.place else position)
        if not mark.place and (
            is_matter(mark.terms, within=None) or mark.terms & APPARATUS
        ):
            outside.add(mark.document)
    outside |= {leaf.name for leaf in (*leaves[:first], *leaves[end:])}
    # A document's own declaration takes precedence.
    outside -= {
        leaf.name
        for leaf in leaves
        if leaf.markup.declares_body
        or leaf.name in prefaces
        or "text" in called[leaf.name]
        or (
            leaf.markup.linked < _LINKS_OF_CONTENTS
            and leaf.letters > _LONGER_THAN_CONTENTS
            and called[leaf.name] == {"toc"}
        )
    }
    rules = {
        name: Exclusion(
            "the landmarks place it outside the main text",
            searched=not called[name] & BY_OTHERS,
        )
        for name in outside
    }
    for leaf in leaves:
        if not leaf.letters and leaf.markup.everything and leaf.name not in prefaces:
            label = f"its markup labels it {leaf.markup.everything[0].matter!r}"
            rules.setdefault(leaf.name, Exclusion(label))
    return rules


def _is_most(rules: Iterable[str], leaves: Sequence[Leaf]) -> bool:
    out = set(rules)
    return 2 * sum(leaf.letters for leaf in leaves if leaf.name in out) > sum(
        leaf.letters for leaf in leaves
    )


def _repeated(leaves: Sequence[Leaf], whole: Collection[str]) -> dict[str, str]:
    """Map each document whose paragraphs all stand in earlier ones to the first of these."""
    seen: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for leaf in leaves:
        paragraphs = [block.text for block in leaf.markup.blocks if not block.level]
        size = sum(len(text.split()) for text in paragraphs)
        if (
            size >= _FEWEST_REPEATED
            and leaf.name not in whole
            and all(text in seen for text in paragraphs)
        ):
            repeated[leaf.name] = seen[paragraphs[0]]
        for text in paragraphs:
            seen.setdefault(text, leaf.name)
    return repeated


# --- what of them is text
# ------------------------------------------------------------------


def _marked(leaf: Leaf, *, whole: bool) -> tuple[TextBlock, ...]:
    """Return the blocks of a selected document, with copyright notices marked."""
    if whole:
        return tuple(replace(block, matter="") for block in leaf.markup.everything)
    notices = find_notices([block.text for block in leaf.markup.everything])
    return tuple(
        replace(block, matter=block.matter or _NOTICE) if is_notice else block
        for block, is_notice in zip(leaf.markup.everything, notices, strict=True)
    )


def _split_notice(text: str, *, prose: bool = True) -> tuple[TextBlock, ...]:
    """Split a stanza or, in prose, sentences from a notice, so that only the notice is matter."""
    pieces, joint = text.split("\n"), "\n"
    if prose and len(pieces) == 1:
        pieces, joint = sentences(text), " "
    grouped = groupby(
        zip(pieces, notices_in_paragraph(pieces), strict=True), key=itemgetter(1)
    )
    return tuple(
        TextBlock(
            joint.join(piece for piece, _ in group), matter=_NOTICE if is_notice else ""
        )
        for is_notice, group in grouped
    )


def without_notices(
    paragraphs: Sequence[str], *, lines: bool
) -> tuple[tuple[str, ...], int]:
    """Remove copyright notices from loose paragraphs; return the rest and the words removed.

    lines: the paragraphs are verse; in prose a notice may be a single sentence. Words
    of any script count.
    """
    kept: list[str] = []
    matter = 0
    for text, is_notice in zip(paragraphs, find_notices(paragraphs), strict=True):
        if not is_notice:
            kept.append(text)
            continue
        for piece in _split_notice(text, prose=not lines):
            if piece.matter:
                matter += len(words(piece.text, "unicode"))
            else:
                kept.append(piece.text)
    return tuple(kept), matter


def _mark_license(block: TextBlock, texts: Iterable[str]) -> TextBlock:
    if block.matter:
        return block
    text = next(iter(texts))
    if text is block.text:
        return block
    return replace(block, text=text) if text else replace(block, matter=_LICENSE)


def _excluded_text(
    leaf: Leaf, blocks: Sequence[TextBlock] | None, exclusion: Exclusion | None
) -> tuple[str, ...]:
    """Return the paragraphs that aren't measured, but which the book's author may have written.

    Not titles, notices and licenses, nor what the user excludes. `blocks` are those of
    a document that is text.
    """
    if exclusion and not (
        exclusion.searched and leaf.markup.linked < _LINKS_OF_CONTENTS
    ):
        return ()
    left_out = (
        [block for block in blocks if block.matter]
        if blocks is not None
        else _marked(leaf, whole=False)
    )
    paragraphs = (
        block.text
        for block in left_out
        if not block.level
        and block.matter not in _BY_OTHERS
        and "Gutenberg" not in block.text
    )
    # A note of a single word is its reference.
    notes = (
        text for text in leaf.markup.note_texts if " " in text or has_unspaced(text)
    )
    return (*paragraphs, *notes)


def _book_part(
    leaf: Leaf,
    label: str | None,
    blocks: Sequence[TextBlock] | None,
    exclusion: Exclusion,
) -> BookPart:
    kept = blocks is not None
    blocks = leaf.markup.everything if blocks is None else blocks
    matter = [block.text for block in blocks if block.matter or not kept]
    headings = [
        block.text for block in blocks if kept and block.level and not block.matter
    ]
    texts = [
        block.text for block in blocks if kept and not (block.level or block.matter)
    ]
    return BookPart(
        name=leaf.name,
        label=label,
        kept=kept,
        rule=exclusion.rule,
        by_title=exclusion.by_title,
        words=_count(texts),
        matter=_count(matter),
        notes=sum(len(text.split()) for text in leaf.markup.note_texts),
        headings=_count(headings),
    )


def _count(texts: Iterable[str]) -> int:
    """Return the number of words of any script."""
    return len(words("\n\n".join(texts), "unicode"))
