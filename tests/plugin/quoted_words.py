"""What may not be in any report: every 13 consecutive words of a text."""

import html
import re

from pytest_memleak.reports.output_table import REPORTS

MOST = 12
REPORT_FILES = {output.option: output.name + output.ending for output in REPORTS}


def grams(text):
    """Every 13 consecutive words, however they are set: in markup, JSON or escapes."""
    text = re.sub(
        r"\\u[0-9a-f]{4}|\\[nrt]", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))
    )
    words = re.findall(r"[a-z0-9]+", text.lower())
    return zip(*(words[i:] for i in range(MOST + 1)), strict=False)
