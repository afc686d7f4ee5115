"""`memleak suite-schema`: the JSON Schema of suite files, for editors."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from pytest_memleak.cli.shared_options import add_command

if TYPE_CHECKING:
    import argparse

    from pytest_memleak.cli.shared_options import Commands

SCHEMA_FILE = "memleak-suite.schema.json"


def add_suite_schema(commands: Commands) -> None:
    """Register `memleak suite-schema`."""
    add_command(
        commands,
        "suite-schema",
        _print_schema,
        "print the JSON Schema of suite files, by which editors complete them",
        "Print the JSON Schema of suite files. With it in a file, an editor with a "
        "TOML language server completes a suite that begins with #:schema "
        f"./{SCHEMA_FILE}.",
        arguments={},
    )


def _print_schema(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - as all commands
    schema = files("pytest_memleak.suite") / SCHEMA_FILE
    print(schema.read_text(encoding="utf-8"), end="")
    return 0
