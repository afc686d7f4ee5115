"""For all tests: a warning is an error."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Third parties that warn about themselves while they are imported.
EXCUSED = (
    "ignore::DeprecationWarning:ebooklib",
    "ignore::FutureWarning:ebooklib",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            for excused in reversed(EXCUSED):
                item.add_marker(pytest.mark.filterwarnings(excused), append=False)
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)


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
        )

    return as_plain
