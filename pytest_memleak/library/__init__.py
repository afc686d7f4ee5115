"""Protected books and their passages in any texts: the gate's index for programs.

from pytest_memleak.library import Library

library = Library.of(["novel.epub"])
passages = library.find(["what a model answered"], ["what it was asked"])
"""

from pytest_memleak.library.book_files import read_book
from pytest_memleak.library.finder import Finder
from pytest_memleak.library.library import Library, Passage

__all__ = ["Finder", "Library", "Passage", "read_book"]
