"""The suite of public-domain texts: it sees what is known, and keeps still for what is not."""

import shutil
from pathlib import Path

from suite_files import read_bundle

ROOT = Path(__file__).parents[2]


def test_the_parrot_leaks_what_it_knows_and_raises_no_false_alarm(pytester, gate):
    for folder in ("suites/public_domain", "fixtures/books"):
        shutil.copytree(ROOT / folder, pytester.path / folder)
    path = pytester.path / "suites/public_domain/public_domain.memleak.toml"
    # Fewer samples than its detection limit needs: a leak is one all the same.
    path.write_text(path.read_text().replace("samples = 66", "samples = 6"))
    gate("-m", "copyright", "--memleak-evidence=e.json", path, xfailed=3, passed=2)
    made = read_bundle("e.json")
    (suite_facts,) = made["suites"]
    assert (suite_facts["controls"], suite_facts["leak_seen"]) == (2, True)
    assert {count["over"] for count in suite_facts["false_alarms"].values()} == {0}
    assert {count["measured"] for count in suite_facts["false_alarms"].values()} == {2}
    for pair in made["pairs"]:
        assert pair["control"] or pair["measures"]["longest_passage"]["value"] > 38
