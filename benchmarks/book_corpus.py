"""The standing corpus of freely licensed EPUBs, and the verdict on their documents.

tests/books/corpus.toml lists the books; none is in this repository. Clone the
repositories that it names as OWNER+NAME (bare or not) into a folder, and

    python benchmarks/book_corpus.py CLONES FOLDER

writes their EPUBs into FOLDER, each named by the beginning of its digest.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "tests" / "books" / "corpus.toml"

# What a reader of text needs of a book's source.
_TEXT_SUFFIXES = (".xhtml", ".html", ".htm", ".xml", ".opf", ".ncx", ".css", ".svg")
_DIGITS_IN_NAME = 16
_UNIX = 3


@dataclass(frozen=True, slots=True)
class ListedBook:
    """A book of the corpus.

    repository, commit, path: of its file on GitHub; a path that ends in "/" is a folder
        of a book's source, of which `epub_of_source` makes an EPUB
    sha256:  of the EPUB
    maker:   what wrote the EPUB
    license: by which it may be used, and why
    words:   that are measured
    cut:     documents that aren't text, by the reason
    within:  words of documents with text that aren't measured, by their kind
    wrong:   documents that the rules decide otherwise than `cut`, and why that is wrong
    refused: the error that rejects the book, if one does
    """

    title: str
    repository: str
    commit: str
    path: str
    sha256: str
    language: str
    maker: str
    license: str
    words: int = 0
    cut: Mapping[str, list[str]] = field(default_factory=dict)
    within: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""

    @property
    def file_name(self) -> str:
        """Name of its EPUB in a folder of the corpus."""
        return f"{self.sha256[:_DIGITS_IN_NAME]}.epub"

    @property
    def judged_cut(self) -> set[str]:
        """Documents that aren't text."""
        return {name for names in self.cut.values() for name in names}

    @property
    def cut_by_rules(self) -> set[str]:
        """Documents that the rules left out when the book was listed."""
        return self.judged_cut ^ set(self.wrong)


def listed_books(corpus: Path = CORPUS) -> list[ListedBook]:
    """Return the books of the corpus, in its order."""
    rows = tomllib.loads(corpus.read_text(encoding="utf-8"))["book"]
    return [ListedBook(**row) for row in rows]


def epub_of_source(files: Mapping[str, bytes]) -> bytes:
    """Return an EPUB of a source's files, the same bytes on any machine.

    files: text files by name, in the folder that has META-INF
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member("mimetype"), b"application/epub+zip")
        for name in sorted(files):
            archive.writestr(_member(name), files[name])
    return target.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    """Return a zip's entry that depends neither on the time nor on the system."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = _UNIX
    return entry


def read_book(clone: Path, book: ListedBook) -> bytes:
    """Return the EPUB of a book from a clone of its repository.

    Raises LookupError if the clone lacks it.
    """
    names = _tree(clone, book)
    if not book.path.endswith("/"):
        if book.path not in names:
            raise LookupError(f"{book.repository} has no {book.path}")
        return _contents(clone, [names[book.path]])[0]
    root = "" if book.path == "./" else book.path
    inside = {
        name.removeprefix(root): blob
        for name, blob in names.items()
        if name.startswith(root) and name.lower().endswith(_TEXT_SUFFIXES)
    }
    contents = _contents(clone, inside.values())
    return epub_of_source(dict(zip(inside, contents, strict=True)))


def _tree(clone: Path, book: ListedBook) -> dict[str, str]:
    """Return the ids of the files in a book's commit, by name."""
    listing = _git(clone, "ls-tree", "-r", "-z", book.commit)
    names: dict[str, str] = {}
    for line in filter(None, listing.split(b"\0")):
        details, _, name = line.partition(b"\t")
        mode, _, blob = details.decode().split()
        if mode.startswith("100"):
            names[name.decode(errors="replace")] = blob
    return names


def _contents(clone: Path, blobs: Iterable[str]) -> list[bytes]:
    """Return the contents of a repository's blobs.

    Raises LookupError if the clone lacks one, as one without large files does.
    """
    names = "\n".join(blobs).encode()
    output = io.BytesIO(_git(clone, "cat-file", "--batch", given=names))
    contents: list[bytes] = []
    while header := output.readline().split():
        if header[1] == b"missing":
            raise LookupError(f"{clone} lacks the file {header[0].decode()}")
        contents.append(output.read(int(header[2])))
        output.readline()
    return contents


def _git(clone: Path, *arguments: str, given: bytes = b"") -> bytes:
    inside = clone / ".git"
    folder = inside if inside.is_dir() else clone
    command = ["git", f"--git-dir={folder}", *arguments]
    done = subprocess.run(command, input=given, check=True, capture_output=True)
    return done.stdout


def collect(clones: Path, folder: Path) -> list[str]:
    """Write the EPUBs of the corpus into a folder; return what is missing."""
    problems: list[str] = []
    for book in listed_books():
        target = folder / book.file_name
        if target.exists():
            continue
        clone = clones / book.repository.replace("/", "+", 1)
        if not clone.is_dir():
            problems.append(
                f"no {clone}: git clone https://github.com/{book.repository} {clone}"
            )
            continue
        try:
            data = read_book(clone, book)
        except (LookupError, subprocess.CalledProcessError) as error:
            problems.append(f"{book.title}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() != book.sha256:
            problems.append(f"{book.title}: {book.path} has another digest")
            continue
        target.write_bytes(data)
    return problems


def main() -> int:
    """Collect the books; return 1 if any is missing."""
    parser = argparse.ArgumentParser(description="Collect the EPUBs of the corpus.")
    parser.add_argument("clones", type=Path, metavar="CLONES")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    problems = collect(arguments.clones, arguments.folder)
    for problem in dict.fromkeys(problems):
        print(problem, file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
