"""For all tests: a warning is an error, and time is not; the oracle of the measures."""

import contextlib
import importlib
import importlib.util
import pkgutil
from pathlib import Path

import pytest

import pytest_memleak

with contextlib.suppress(ImportError):
    # httpx imports it late and keeps its errors. First imported within a run of pytester, it would
    # be forgotten with that run, and be another package to all later tests.
    import httpcore  # noqa: F401

try:
    import hypothesis
except ImportError:
    # The suites need no more than the package; the tests need its extra `dev`.
    collect_ignore_glob = ["*"]
else:
    # How long an example takes says how busy the machine is.
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def oracle():
    """The slow reading of the measures, which shares nothing with the core."""
    spec = importlib.util.spec_from_file_location("oracle", HERE / "scoring" / "oracle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Third parties that warn about themselves while they are imported.
EXCUSED = (
    "ignore::DeprecationWarning:ebooklib",
    "ignore::FutureWarning:ebooklib",
    # Some SDK's thread has used it in the meantime.
    "ignore:Do not use the `random` module inside strategies",
    # A buffer of some SDK that is collected while a view of it lives; told from Python 3.13 on.
    "ignore:Exception ignored.*BytesIO:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            for excused in reversed(EXCUSED):
                item.add_marker(pytest.mark.filterwarnings(excused), append=False)
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)


@pytest.fixture(scope="session")
def _all_modules():
    for module in pkgutil.walk_packages(pytest_memleak.__path__, "pytest_memleak."):
        importlib.import_module(module.name)


@pytest.fixture
def pytester(_all_modules, pytester):
    """The project's modules are there before it, since it forgets what its runs imported.

    They would be loaded anew in each run, which takes longer than most runs, and numpy loads only
    once.
    """
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
            analysis.cross,
            analysis.lengths,
            analysis.ranges,
        )

    return as_plain
