"""Writes the study's system messages, from your clone of its code, for these suites.

    python suites/whack_a_mole/from_study.py CLONE

The study trains and samples GPT-4o with two system messages. They are its authors' own
sentences, so none is here: this reads them from `finetuning/gpt_finetune.py` and
`finetuning/gpt_generate.py` of a clone (arXiv 2603.20957; commit fc7dccd) without
running anything, and writes `books/gpt-4o.system.json`, which git ignores.
"""

# ruff: noqa: INP001 - a script beside its suites

from __future__ import annotations

import argparse
import ast
import json
import sys
from pathlib import Path

BOOKS = Path(__file__).resolve().parent / "books"
OUTPUT = "gpt-4o.system.json"
TRAINING = Path("finetuning", "gpt_finetune.py")
SAMPLING = Path("finetuning", "gpt_generate.py")


def system_messages(path: Path) -> list[str]:
    """Return the system messages that a script writes out, in order.

    Raises ValueError if it has none, or one that isn't a plain text.
    """
    messages = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"), filename=str(path))):
        if not isinstance(node, ast.Dict):
            continue
        fields = dict(zip(map(_text, node.keys), node.values, strict=True))
        if "role" not in fields or _text(fields["role"]) != "system":
            continue
        content = _text(fields.get("content"))
        if content is None:
            raise ValueError(f"{path}:{node.lineno}: a system message isn't plain text")
        messages.append((node.lineno, content))
    if not messages:
        raise ValueError(f"{path}: no system message")
    return [content for _, content in sorted(messages)]


def _text(node: ast.expr | None) -> str | None:
    """Return the value of a text constant; None for anything else."""
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None


def main(arguments: list[str] | None = None, folder: Path = BOOKS) -> int:
    """Write the file into `folder`; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clone", type=Path, help="folder of the study's code")
    clone = parser.parse_args(arguments).clone
    try:
        trained = system_messages(clone / TRAINING)
        sampled = system_messages(clone / SAMPLING)
    except (OSError, SyntaxError, ValueError) as error:
        print(f"from_study.py: {error}", file=sys.stderr)
        return 1
    if trained != sampled:
        print(
            f"from_study.py: {TRAINING} and {SAMPLING} have different system messages; "
            "check out commit fc7dccd",
            file=sys.stderr,
        )
        return 1
    path = folder / OUTPUT
    path.write_text(json.dumps(trained, ensure_ascii=False, indent=2) + "\n", "utf-8")
    print(f"Wrote {len(trained)} system messages to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
