"""Hooks from installed packages and objects: which of them counts, and who is asked when."""

from types import ModuleType, SimpleNamespace

import pytest

from pytest_memleak.errors import BookError, SuiteError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.records import Measure

BUILT_IN = sorted(PROVIDERS)
STORY = Manuscript("Mine", "Me", (Chapter(None, ("Some words.",)),))


def module(**hooks):
    """A module with these functions as hooks by other names, as a conftest is one."""
    extension = ModuleType("extension")
    for name, function in hooks.items():
        setattr(extension, f"my_{name}", hookimpl(function, specname=name))
    return extension


def providers(**named):
    return module(memleak_providers=lambda: named)


def test_only_a_provider_that_says_so_is_free():
    paid, free = SimpleNamespace(free=False), SimpleNamespace(free=True)
    extensions = Extensions([providers(p=paid, f=free, x=len)])
    names = [*BUILT_IN, "p", "f", "x"]
    free = [name for name in names if extensions.is_free(name)]
    assert free == [*(name for name in BUILT_IN if PROVIDERS[name].free), "f"]
    assert {"ngram", "recorded"} <= {*free} <= {*names} - {"openai", "p", "x"}
    with pytest.raises(SuiteError, match="unknown provider 'y'"):
        extensions.is_free("y")


def test_a_provider_of_ones_own_is_beside_the_others_or_in_the_place_of_one():
    extensions = Extensions([providers(mine=dict)])
    assert callable(extensions.provider("ngram", place="x"))
    names = ", ".join(sorted({"mine", *PROVIDERS}))
    with pytest.raises(SuiteError, match=f"known providers: {names}"):
        extensions.provider("y", place="x")
    # The last registered counts.
    first, second = providers(ngram=dict, mine=dict), providers(mine=list)
    extensions = Extensions([first, second])
    assert extensions.provider("ngram", place="x") is dict
    assert extensions.provider("mine", place="x") is list
    assert Extensions([second, first]).provider("mine", place="x") is dict


@pytest.mark.parametrize("name", ["b.txt", "b.TXT", "b.Txt"])
def test_a_reader_of_ones_own_is_asked_before_the_built_in_ones(tmp_path, name):
    (tmp_path / name).write_text("Some other words. " * 10)
    requested = []

    def read(path):
        requested.append(path.name)
        return STORY if path.stem == "mine" else None

    extensions = Extensions([module(memleak_read_book=read)])
    assert extensions.read_book(tmp_path / "mine.txt") is STORY
    assert extensions.read_book(tmp_path / "mine.fb2") is STORY
    assert extensions.read_book(tmp_path / name).chapters[0] != STORY.chapters[0]
    assert requested == ["mine.txt", "mine.fb2", name]


@pytest.mark.parametrize(
    ("name", "kind"), [("b.EPUB2", r"'\.EPUB2'"), (".txt", r"'\.txt'")]
)
def test_a_file_that_nobody_reads_is_named(name, kind, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(BookError, match=f"no reader for {kind} files") as caught:
        Extensions().read_book(tmp_path / name)
    assert caught.value.location == str(tmp_path / name)


def test_the_last_registered_measure_of_a_name_counts():
    first = module(memleak_measures=lambda: {"a": len, "b": len})
    second = module(memleak_measures=lambda: {"b": max})
    assert Extensions().measures() == {}
    rows = Extensions([first, second]).measures()
    assert {name: row.function for name, row in rows.items()} == {"a": len, "b": max}
    # A measure may be a row that says more.
    row = Measure("", kind="count", unit="letters", function=len)
    (row,) = (
        Extensions([module(memleak_measures=lambda: {"a": row})]).measures().values()
    )
    assert (row.name, row.kind, row.unit, row.function) == (
        "a",
        "count",
        "letters",
        len,
    )


def test_the_conftests_of_several_folders_may_have_one_name():
    conftests = [
        module(memleak_measures=lambda n=n: {f"measure_{n}": len}) for n in range(3)
    ]
    assert {module.__name__ for module in conftests} == {"extension"}
    hook = staticmethod(
        hookimpl(lambda: {"measure_3": len}, specname="memleak_measures")
    )
    assert (
        len(Extensions([*conftests, type("Plugin", (), {"rows": hook})]).measures())
        == 4
    )
