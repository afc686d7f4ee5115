"""Evidence of the small suite: how it is written, and sealed again after a change."""

import json

from pytest_memleak.results.evidence_file import seal_bundle

WIDE = ("longest_span = 10", "longest_block = 30")
EVIDENCE = "--memleak-evidence=evidence.json"


def resealed(path, change):
    """Change the bundle, and make its digest anew, as who has the program can."""
    bundle = json.loads(path.read_text(encoding="utf-8"))
    change(bundle)
    path.write_text(
        json.dumps(bundle | seal_bundle(bundle), indent=1) + "\n", encoding="utf-8"
    )


LEAK = ('id = "leaky"', 'id = "leaky"\nexpected = "leak"')
