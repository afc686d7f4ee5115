"""For all tests: a warning is an error, and time is not; the oracle of the measures."""

import contextlib
import functools
import gc
import importlib.metadata
import os
import pkgutil
import sys
import sysconfig
from pathlib import Path

import pytest
from _pytest import pytester as pytesters
from examples import examples

import pytest_memleak

try:
    import hypothesis
except ImportError:
    # The suites need no more than the package; the tests need its extra `dev`.
    collect_ignore_glob = ["*"]
else:
    # How long an example takes depends on how busy the machine is.
    hypothesis.settings.register_profile(
        "untimed", deadline=None, max_examples=examples(100)
    )
    hypothesis.settings.load_profile("untimed")

HERE = Path(__file__).parent

# Python looks for garbage after each 700 new objects, which takes a tenth of the tests'
# time.
gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def oracle():
    """The slow reading of the measures, which shares nothing with the core."""
    return importlib.import_module("oracle")


# Third parties that warn about themselves while they are imported.
EXCUSED = (
    "ignore::DeprecationWarning:ebooklib",
    "ignore::FutureWarning:ebooklib",
    # Some SDK's thread has used it in the meantime.
    "ignore:Do not use the `random` module inside strategies",
    # A buffer of some SDK that is collected while a view of it lives; told from Python
    # 3.13 on.
    "ignore:Exception ignored.*BytesIO:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            for excused in reversed(EXCUSED):
                item.add_marker(pytest.mark.filterwarnings(excused), append=False)
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)
    gc.freeze()  # What is imported by now is nobody's garbage.


MOST = 2.0  # seconds of processor time
STARTED, ENDED = pytest.StashKey(), pytest.StashKey()
heavy_tests = []


def processor_time():
    """Return the seconds that this process and its ended children have used."""
    return sum(os.times()[:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[STARTED] = processor_time()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    if (
        nextitem is None
    ):  # With the last test end the processes that all tests have shared.
        item.stash[ENDED] = processor_time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "teardown":
        ended = item.stash.get(ENDED, None) or processor_time()
        report.processor_time = ended - item.stash[STARTED]
    return report


def pytest_runtest_logreport(report):
    # Where xdist's workers run the tests, their reports bring the time here.
    if getattr(report, "processor_time", 0) > MOST and "full" not in report.keywords:
        heavy_tests.append((report.processor_time, report.nodeid))


def pytest_terminal_summary(terminalreporter):
    if heavy_tests:
        terminalreporter.section(
            f"over {MOST:g} s of processor time, and not marked full"
        )
        for seconds, test in sorted(heavy_tests, reverse=True):
            terminalreporter.line(f"{seconds:5.1f} s  {test}")


class Forgetting(pytesters.SysModulesSnapshot):
    """What pytester forgets of what its runs imported: all but what is installed.

    A class that is imported twice is two classes, of which an `except` clause knows
    one; torch that is imported twice ends the process, sooner or later; and it takes
    longer than most runs.
    """

    def restore(self):
        before = dict(sys.modules)
        super().restore()
        removed = before.keys() - sys.modules.keys()
        sys.modules.update({name: before[name] for name in removed})
        for name in [name for name in removed if not _is_installed(name, before[name])]:
            del sys.modules[name]


INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})


def _is_installed(name, module):
    if name.partition(".")[0] in sys.stdlib_module_names:
        return True
    its = getattr(module, "__dict__", {})
    places = [its.get("__file__"), *(its.get("__path__") or ())]
    return any(str(place).startswith(INSTALLED) for place in places)


pytesters.SysModulesSnapshot = Forgetting

# Each pytest run in here reads the entry points of all that is installed, which stay
# the same.
_ENTRY_POINTS = importlib.metadata.PathDistribution.entry_points.fget


@functools.cache
def _entry_points(folder):
    return _ENTRY_POINTS(importlib.metadata.PathDistribution(folder))


importlib.metadata.PathDistribution.entry_points = property(
    lambda distribution: _entry_points(distribution._path)
)


@pytest.fixture(scope="session")
def _all_modules():
    for module in pkgutil.walk_packages(pytest_memleak.__path__, "pytest_memleak."):
        with contextlib.suppress(
            ModuleNotFoundError
        ):  # of an extra that isn't installed
            importlib.import_module(module.name)


@pytest.fixture
def pytester(_all_modules, pytester):
    """The project's own modules, which are not always installed, are there before it, too."""
    return pytester


@pytest.fixture(scope="session")
def plain():
    """Turns an analysis into what can be compared."""

    def as_plain(analysis):
        counts = analysis.counts
        return (
            analysis.measurement,
            analysis.error,
            (counts.times.tolist(), counts.alone.tolist(), counts.rounds),
            analysis.agreement,
            (analysis.cross.spans, analysis.cross.cross),
            analysis.lengths,
            analysis.ranges,
        )

    return as_plain
