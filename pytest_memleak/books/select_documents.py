"""Rules that decide which documents of a book aren't its text.

Each rule is a function that maps the documents it excludes to an `Exclusion`;
`select_documents` applies them in order. The user's `include` and `exclude` override
all of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pytest_memleak.books.boilerplate import matter_kind_of_title
from pytest_memleak.books.document_sections import divide, file_name, with_linked_notes
from pytest_memleak.books.front_and_back_matter import (
    Exclusion,
    is_authors_preface,
    outer_matter,
)
from pytest_memleak.books.html_attributes import APPARATUS, BY_OTHERS, is_matter
from pytest_memleak.books.text_blocks import MOSTLY_LINKS, Entry, SpineDocument
from pytest_memleak.errors import BookError

_Rules = dict[str, Exclusion]
_Titles = dict[str, str | None]
_Terms = dict[str, set[str]]

_EXCLUDED_BY_USER = Exclusion("it matches exclude", searched=False)
_SHOWN = 5
_FEWEST_REPEATED = 100
_PREFACES = frozenset({"preface", "foreword", "introduction"})

# A landmark may call the book itself its table of contents.
_LONGER_THAN_CONTENTS = 500


@dataclass(frozen=True, slots=True)
class DocumentSelection:
    """The documents of a book, and the rules that exclude some of them.

    leaves:     documents in reading order, divided into sections
    entries:    of the table of contents, which lead to these sections
    titles:     title of each document, by name
    exclusions: rule of each document that isn't text, by name
    included:   documents that the user includes
    prefaces:   prefaces by the book's author, which are text despite their markup
    repeated:   documents that repeat earlier ones: name of the first of these
    """

    leaves: Sequence[SpineDocument]
    entries: Sequence[Entry]
    titles: Mapping[str, str | None]
    exclusions: Mapping[str, Exclusion]
    included: Collection[str]
    prefaces: Collection[str]
    repeated: Mapping[str, str]
    warnings: Sequence[str]

    @property
    def texts(self) -> list[SpineDocument]:
        """Documents that are text."""
        return [leaf for leaf in self.leaves if leaf.name not in self.exclusions]


def select_documents(
    leaves: Sequence[SpineDocument],
    landmarks: Sequence[Entry],
    entries: Sequence[Entry],
    *,
    title: str | None,
    author: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    place: str,
) -> DocumentSelection:
    """Apply every rule to the documents; parameters are as in `compose_manuscript`.

    Raises BookError for a pattern that matches no document.
    """
    leaves = with_linked_notes(leaves)
    declared = _declared_matter(leaves, landmarks, entries, author)
    rules = declared.rules
    warnings = declared.warnings
    if len(leaves) > 1:
        leaves, entries = divide(leaves, entries, out=rules)
    names = [leaf.name for leaf in leaves]
    included, excluded = _chosen_by_user(names, include, exclude, place)

    if len(leaves) > 1:
        outer = outer_matter(
            leaves,
            _listed_kinds(entries),
            out=rules,
            title=title,
            author=author,
        )
        if _would_exclude_most(outer.rules, _without_roles(leaves)):
            warnings.append(_ignored_rules_warning("contents"))
        else:
            rules |= outer.rules
        chosen = included | excluded
        warnings += _warnings_except(outer.warnings, chosen)

    for name in included:
        rules.pop(name, None)
    for name in excluded:
        rules[name] = _EXCLUDED_BY_USER

    repeated = _repeated_documents(_without(leaves, rules), included)
    for name, first in repeated.items():
        rules[name] = Exclusion(f"it repeats {first!r}")
        warnings.append(f"{name!r} repeats {first!r}, so it counts once")
    return DocumentSelection(
        leaves=leaves,
        entries=entries,
        titles=_titles(leaves, entries),
        exclusions=rules,
        included=included,
        prefaces=declared.prefaces,
        repeated=repeated,
        warnings=warnings,
    )


def _without(
    leaves: Sequence[SpineDocument], rules: Collection[str]
) -> list[SpineDocument]:
    return [leaf for leaf in leaves if leaf.name not in rules]


def _without_roles(leaves: Sequence[SpineDocument]) -> list[SpineDocument]:
    return [leaf for leaf in leaves if not leaf.role]


def _warnings_except(warnings: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Return the warnings on documents other than these."""
    return [warning for name, warning in warnings.items() if name not in names]


def _would_exclude_most(
    rules: Collection[str], leaves: Sequence[SpineDocument]
) -> bool:
    """Whether these rules exclude more than half of the documents' letters."""
    total = sum(leaf.letters for leaf in leaves)
    excluded = sum(leaf.letters for leaf in leaves if leaf.name in rules)
    return 2 * excluded > total


def _ignored_rules_warning(source: str) -> str:
    return f"ignored the {source}, which would exclude most of the book"


# --- titles
# -----------------------------------------------------------------------------


def _titles(leaves: Sequence[SpineDocument], entries: Sequence[Entry]) -> _Titles:
    """Return each document's title: its first in the contents, or its first heading."""
    listed: dict[str, str] = {}
    for entry in entries:
        listed.setdefault(entry.document, entry.title)
    titles: _Titles = {}
    for leaf in leaves:
        titles[leaf.name] = listed.get(leaf.name) or _first_heading(leaf)
    return titles


def _first_heading(leaf: SpineDocument) -> str | None:
    for block in leaf.markup.everything:
        if block.level:
            return block.text.replace("\n", " ")
    return None


def _listed_kinds(entries: Sequence[Entry]) -> dict[str, str | None]:
    """Return the kind of matter by which the contents list each document."""
    kinds: dict[str, str | None] = {}
    for entry in entries:
        kinds.setdefault(entry.document, matter_kind_of_title(entry.title))
    return kinds


# --- what the file declares
# -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _DeclaredMatter:
    rules: _Rules
    prefaces: set[str]
    warnings: list[str]


def _declared_matter(
    leaves: Sequence[SpineDocument],
    landmarks: Sequence[Entry],
    entries: Sequence[Entry],
    author: str | None,
) -> _DeclaredMatter:
    """Exclude documents by their role in the package, landmarks, and their markup."""
    rules = _rules_of_package(leaves)
    linear = _without(leaves, rules)
    terms = _landmark_terms(landmarks)
    titles = _titles(leaves, entries)
    prefaces = _authors_prefaces(linear, terms, titles, author)
    by_markup = _rules_of_markup(linear, prefaces)
    by_landmarks = _rules_of_landmarks(linear, landmarks, terms, prefaces)
    declared = by_markup | by_landmarks
    if _would_exclude_most(declared, linear):
        return _DeclaredMatter(rules, prefaces, [_ignored_rules_warning("landmarks")])
    return _DeclaredMatter(
        rules=rules | declared,
        prefaces=prefaces,
        warnings=[],
    )


_ROLES = {
    "navigation": Exclusion("it is the navigation document"),
    "not linear": Exclusion('the spine marks it linear="no"'),
}


def _rules_of_package(leaves: Sequence[SpineDocument]) -> _Rules:
    return {leaf.name: _ROLES[leaf.role] for leaf in leaves if leaf.role}


def _landmark_terms(landmarks: Sequence[Entry]) -> _Terms:
    terms: _Terms = {}
    for mark in landmarks:
        terms.setdefault(mark.document, set()).update(mark.terms)
    return terms


def _authors_prefaces(
    leaves: Sequence[SpineDocument],
    terms: _Terms,
    titles: _Titles,
    author: str | None,
) -> set[str]:
    """Return the prefaces that the book's author wrote."""
    prefaces: set[str] = set()
    for leaf in leaves:
        label = titles[leaf.name]
        own_terms = terms.get(leaf.name, set())
        is_preface = _is_preface(leaf, own_terms, label)
        if is_preface and is_authors_preface(author, leaf, label):
            prefaces.add(leaf.name)
    return prefaces


def _is_preface(
    leaf: SpineDocument,
    terms: set[str],
    label: str | None,
) -> bool:
    kinds = {block.matter for block in leaf.markup.everything if block.matter}
    if len(kinds) > 1:
        # A document with several kinds of front matter is not a preface.
        return False
    title_words = re.findall(r"\w+", (label or "").lower())
    names = {*kinds, *terms, *title_words}
    return not _PREFACES.isdisjoint(names)


def _rules_of_landmarks(
    leaves: Sequence[SpineDocument],
    landmarks: Sequence[Entry],
    terms: _Terms,
    prefaces: Collection[str],
) -> _Rules:
    """Exclude what landmarks call matter, and what is before or after the main text."""
    marked = _marked_as_matter(landmarks)
    marked |= _outside_main_text([leaf.name for leaf in leaves], landmarks)
    rules: _Rules = {}
    for leaf in leaves:
        own_terms = terms.get(leaf.name, set())
        if leaf.name not in marked or leaf.name in prefaces:
            continue
        if _declares_text(leaf, own_terms):
            continue
        rules[leaf.name] = Exclusion(
            "the landmarks place it outside the main text",
            searched=BY_OTHERS.isdisjoint(own_terms),
        )
    return rules


def _marked_as_matter(landmarks: Sequence[Entry]) -> set[str]:
    """Return the documents that a landmark calls matter, as a whole."""
    marked: set[str] = set()
    for mark in landmarks:
        if mark.place:
            continue
        is_apparatus = not mark.terms.isdisjoint(APPARATUS)
        if is_apparatus or is_matter(mark.terms, within=None):
            marked.add(mark.document)
    return marked


def _outside_main_text(names: Sequence[str], landmarks: Sequence[Entry]) -> set[str]:
    """Return the documents before the first landmark of the body, or after it."""
    positions = {name: position for position, name in enumerate(names)}
    first = 0
    end = len(names)
    for mark in landmarks:
        position = positions.get(mark.document)
        if position is None:
            continue
        if "bodymatter" in mark.terms:
            first = first or position
        elif "backmatter" in mark.terms:
            # Back matter that begins within a document leaves it in the text.
            end = min(end, position + 1 if mark.place else position)
    return {*names[:first], *names[end:]}


def _declares_text(leaf: SpineDocument, terms: set[str]) -> bool:
    """Whether a document declares that it is text, which takes precedence."""
    if leaf.markup.declares_body or "text" in terms:
        return True
    is_prose = (
        leaf.markup.linked < MOSTLY_LINKS and leaf.letters > _LONGER_THAN_CONTENTS
    )
    return terms == {"toc"} and is_prose


def _rules_of_markup(
    leaves: Sequence[SpineDocument], prefaces: Collection[str]
) -> _Rules:
    """Exclude documents whose `epub:type` or `role` labels all blocks as matter."""
    rules: _Rules = {}
    for leaf in leaves:
        blocks = leaf.markup.everything
        if blocks and not leaf.letters and leaf.name not in prefaces:
            rules[leaf.name] = Exclusion(f"its markup labels it {blocks[0].matter!r}")
    return rules


# --- what repeats
# -----------------------------------------------------------------------------


def _repeated_documents(
    leaves: Sequence[SpineDocument], included: Collection[str]
) -> dict[str, str]:
    """Map each document that only repeats earlier ones to the one with most of it."""
    seen: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for leaf in leaves:
        paragraphs = [block.text for block in leaf.markup.blocks if not block.level]
        size = sum(len(text.split()) for text in paragraphs)
        is_large = size >= _FEWEST_REPEATED and leaf.name not in included
        if is_large and all(text in seen for text in paragraphs):
            earlier = Counter(seen[text] for text in paragraphs)
            repeated[leaf.name] = earlier.most_common(1)[0][0]
        for text in paragraphs:
            seen.setdefault(text, leaf.name)
    return repeated


# --- what the user chooses
# -----------------------------------------------------------------------------


def _chosen_by_user(
    names: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    place: str,
) -> tuple[set[str], set[str]]:
    """Return the documents that `include` and `exclude` match."""
    included = _names_matching(
        key="include",
        patterns=include,
        names=names,
        place=place,
    )
    excluded = _names_matching(
        key="exclude",
        patterns=exclude,
        names=names,
        place=place,
    )
    both = sorted(included & excluded)
    if both:
        raise BookError(
            f"include and exclude both name {both[0]!r}",
            location=place,
            hint="remove it from one of them",
        )
    return included, excluded


def _names_matching(
    key: str,
    patterns: Iterable[str],
    names: Sequence[str],
    place: str,
) -> set[str]:
    chosen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in names if _is_match(name, pattern)}
        if not matches:
            shown = ", ".join(map(repr, names[:_SHOWN]))
            more = ", ..." if len(names) > _SHOWN else ""
            raise BookError(
                f"{key} names {pattern!r}, which matches no document of the book",
                location=place,
                hint=f"its documents are {shown}{more}",
            )
        chosen |= matches
    return chosen


def _is_match(name: str, pattern: str) -> bool:
    """Whether a pattern matches a section or its document, with or without folders."""
    for form in (name, file_name(name)):
        base = form.rpartition("/")[2]
        if fnmatchcase(form, pattern) or fnmatchcase(base, pattern):
            return True
    return False
