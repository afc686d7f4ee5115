"""The plugin of docs/extending.md, as a reader copies it from the page."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
SOURCE = re.search(
    r'^```python title="storyserver.py"\n(.*?)^```$',
    PAGE.read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)[1]
exec(compile(SOURCE, "storyserver.py", "exec"))
