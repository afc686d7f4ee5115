"""What reference pages take from the code: `python tests/settings/write_reference.py` writes it.

The row of a new key, option or measure is added, with the code's own words, and the row
of one that is gone is removed; a default is corrected. The words of other rows stay.
Types and examples of keys are written by hand. `test_docs.py` fails where this would
change a page or an example is missing.
"""

import contextlib
import importlib
import io
import json
import re
import tempfile
import tomllib
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from suite_json_schema import described, json_schema, own_tables

from pytest_memleak.cli.main import main
from pytest_memleak.plugin import hooks
from pytest_memleak.providers.option_tables import Table as OptionsTable
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.records.pair import AnswerLimits
from pytest_memleak.suite.schema import SuiteFile, SuiteTable

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SCHEMA = ROOT / "pytest_memleak/suite/memleak-suite.schema.json"
FILE = re.compile(r'^```json title="(\w+\.json)"\n((?:.*\n)*?)```', re.MULTILINE)


def outside_code(lines):
    """Yield the lines that aren't fenced code: number, headings above, outermost first, text."""
    headings, fenced = (), False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            if heading := re.match(r"(#+) (.*)", line):
                headings = (*headings[: len(heading[1]) - 1], heading[2])
            yield number, headings, line


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def code(cell):
    match = re.search(r"`([^`]+)`", cell)
    assert match, f"no code in this cell: {cell}"
    return match[1]


def fill(lines, headings, rows, read=None, *, default=2, elsewhere=()):
    """Make the rows of the table under these headings those of `rows`, by their keys.

    A row: name, further cells. read: what the cell at `default` says; one that says
    otherwise than the code gets the code's. elsewhere: keys whose rows another table
    may have.
    """
    at = [
        number
        for number, above, line in outside_code(lines)
        if above[1:] == headings and line.startswith("|")
    ]
    assert len(at) > 1, f"no table under {' / '.join(headings)}"
    written = {code(cells(lines[number])[0]): lines[number] for number in at[2:]}
    order = [key for key in written if key in rows]
    before = None
    for key, row in rows.items():
        if key not in written and key in elsewhere:
            continue
        if key not in written:
            order.insert(order.index(before) + 1 if before else 0, key)
        elif read and read((there := cells(written[key]))[default]) != read(
            row[default]
        ):
            there[default] = row[default]
            written[key] = f"| {' | '.join(there)} |"
        before = key
    new = [written.get(key) or f"| {' | '.join(rows[key])} |" for key in order]
    return [*lines[: at[1] + 1], *new, *lines[at[1] + 1 + len(at[2:]) :]]


class Recorder:
    """Stands in for pytest's parser and config: writes down what the plugin declares."""

    def __init__(self):
        self.options, self.inis, self.markers = {}, {}, []
        self.workerinput = {}  # as in a worker, where no reporting is set up
        hooks.pytest_addoption(self)
        hooks.pytest_configure(self)

    def getgroup(self, *_):
        return self

    def addoption(self, *names, **settings):
        assert names[0].startswith("--memleak-")
        metavar = settings.get("metavar")
        for name in names:
            option = f"{name} {metavar}" if metavar else name
            self.options[option] = [f"`{option}`", *default_and_help(settings)]

    def addini(self, name, **settings):
        self.inis[name] = [f"`{name}`", *default_and_help(settings)]

    def getoption(self, _):
        return None

    def addinivalue_line(self, name, line):
        assert name == "markers"
        self.markers.append(re.match(r"\w+", line)[0])


def default_and_help(settings):
    """The default is what the help states after "default:", which it has to for any but none."""
    text, _, stated = settings["help"].removesuffix(")").partition(" (default: ")
    default = settings.get("default")
    if not stated:
        assert not default, settings
        return "off" if settings.get("action") == "store_true" else "none", settings[
            "help"
        ]
    if not default:
        return stated, text
    value = " ".join(default) if isinstance(default, list) else default
    assert stated in {"%(default)s", value}
    return f"`{value}`", text


def table_in(annotation):
    """The class of the table that a field holds, by itself, in a list or optionally."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(table_in, get_args(annotation))), None)


def suite_tables(kind=SuiteFile, path=""):
    """Every table of a suite file, and its name: `[suite]`, `[[book]]`, `[model.finetune]`."""
    for name, field in kind.model_fields.items():
        inner = table_in(field.annotation)
        if inner is not None:
            several = "list" in str(field.annotation)
            yield f"[[{path}{name}]]" if several else f"[{path}{name}]", inner
            yield from suite_tables(inner, f"{path}{name}.")


SUITE_TABLES = list(suite_tables())


def default_of(kind, name):
    """What holds without the key: its own default, or in `[suite]` that of the answers' record."""
    field = kind.model_fields[name]
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if kind is SuiteTable and default is None:
        default = getattr(AnswerLimits(), name, None)
    empty = default is None or default in ({}, (), []) or isinstance(default, BaseModel)
    return "none" if empty else default


def read_default(cell):
    return cell if "`" not in cell else tomllib.loads(f"x = {code(cell)}")["x"]


def as_toml(value):
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {as_toml(part)}' for key, part in value.items())} }}"
    return json.dumps(value)


def key_rows(kind):
    """The rows of a table's keys as the code has them, each without its type and an example."""
    schema = (
        described(kind.model_json_schema()) if issubclass(kind, OptionsTable) else None
    )
    rows = {}
    for name, field in kind.model_fields.items():
        default = default_of(kind, name)
        text = (
            schema["properties"][name]["description"] if schema else field.description
        )
        shown = default if default in ("none", "required") else f"`{as_toml(default)}`"
        rows[name] = [f"`{name}`", "write its type", shown, text, "write an example"]
    return rows


def section_of(kind):
    """The headings of the one section of suite.md that is about this table."""
    names = {f"`{name}`" for name, table in SUITE_TABLES if table is kind}
    outline = [above for _, above, _ in outside_code(lines_of("suite.md"))]
    sections = {above[1:] for above in outline if above and above[-1] in names} - {()}
    assert len(sections) == 1, (
        f"{kind.__name__} needs one section of {' or '.join(names)}"
    )
    return sections.pop()


def rows_elsewhere(section):
    """The rows of other tables that a section names: "Also `a` and `b` of [`[suite]`](#suite)"."""
    text = "\n".join(lines_in("suite.md", section))
    sentences = re.findall(
        r"^Also (.*?)(?:\n\n|\. )", f"{text}\n\n", re.MULTILINE | re.DOTALL
    )
    results = {}
    for sentence in sentences:
        for names, table in re.findall(
            r"(.*?)\sof\s\[`(\[+\w+\]+)`\]", sentence, re.DOTALL
        ):
            keys = set(re.findall(r"`(\w+)`", names))
            documented = rows_in("suite.md", (f"`{table}`",))
            assert keys <= documented.keys(), f"{table} doesn't have all of {keys}"
            results |= {key: documented[key] for key in keys}
    return results


def documented_by(shared, rows):
    """Select the keys whose row in another table holds for this one, too."""
    return {
        key
        for key, row in rows.items()
        if key in shared
        and (row[2] == "none" or read_default(shared[key][2]) == read_default(row[2]))
    }


def provider_tables(provider):
    """A provider's own tables, by what they are: `options`, `finetune`, `options.deployment`."""
    tables = own_tables(provider)
    options = tables["options"].model_fields if "options" in tables else {}
    inner = {
        f"options.{key}": table_in(field.annotation) for key, field in options.items()
    }
    return tables | {name: kind for name, kind in inner.items() if kind}


def provider_row(provider):
    """The row of a provider in the summary."""
    needs = PROVIDERS[provider].needs
    about = importlib.import_module(PROVIDERS[provider].module).__doc__.partition("\n")[
        0
    ]
    return [
        f"[`{provider}`](#{provider})",
        about.partition(": ")[2].rstrip("."),
        "yes" if "finetune" in provider_tables(provider) else "nothing",
        f"extra `{needs.extra}`" if needs.extra else "nothing",
        "nothing" if PROVIDERS[provider].free else "per token",
    ]


def lines_of(page):
    return (DOCS / page).read_text(encoding="utf-8").splitlines()


def lines_in(page, section):
    """The lines of a section and no deeper, without fenced code."""
    return [
        line for _, above, line in outside_code(lines_of(page)) if above[1:] == section
    ]


def rows_in(page, section):
    """The rows of the table in a section, by the code that each begins with."""
    rows = [cells(line) for line in lines_in(page, section) if line.startswith("|")][2:]
    assert rows, f"{page} has no table under {' / '.join(section)}"
    by_key = {code(row[0]): row for row in rows}
    assert len(by_key) == len(rows)
    return by_key


def options_page():
    declared = Recorder()
    lines = lines_of("options.md")
    for heading, rows in (
        ("Command line", declared.options),
        ("Ini keys", declared.inis),
    ):
        lines = fill(
            lines, (heading,), rows, lambda cell: cell.replace("`", ""), default=1
        )
    return lines


def suite_page():
    lines = lines_of("suite.md")
    for kind in dict.fromkeys(kind for _, kind in SUITE_TABLES):
        section, rows = section_of(kind), key_rows(kind)
        elsewhere = documented_by(rows_elsewhere(section), rows)
        lines = fill(lines, section, rows, read_default, elsewhere=elsewhere)
    return lines


def providers_page():
    lines = lines_of("providers.md")
    summary = {provider: provider_row(provider) for provider in PROVIDERS}
    lines = fill(lines, (), summary)
    for provider in PROVIDERS:
        if f"## `{provider}`" not in lines:
            lines += new_section(provider)
        for name, kind in provider_tables(provider).items():
            heading = f"`[model.{name}]`"
            shared = (
                {} if "." in name else rows_in("providers.md", (SHARED_KEYS, heading))
            )
            rows = key_rows(kind)
            elsewhere = documented_by(shared, rows)
            section = (f"`{provider}`", heading)
            lines = fill(lines, section, rows, read_default, elsewhere=elsewhere)
    return lines


def new_section(provider):
    """The beginning of a section on a provider: the tables that it has."""
    lines = ["", f"## `{provider}`"]
    columns = ("key", "type", "default", "what it is", "example")
    for name in provider_tables(provider):
        lines += ["", f"### `[model.{name}]`", "", f"| {' | '.join(columns)} |"]
        lines += [f"| {' | '.join('---' for _ in columns)} |"]
    return lines


def cli_page():
    """Show what `memleak score` prints for the files of the page."""
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    example = re.search(r"^\$ memleak (score .*)\n((?:.*\n)*?)```", page, re.MULTILINE)
    printed = io.StringIO()
    folder = tempfile.TemporaryDirectory()
    with folder as path, contextlib.chdir(path), contextlib.redirect_stdout(printed):
        for block in FILE.finditer(page):
            Path(block[1]).write_text(block[2], encoding="utf-8")
        main(example[1].split())
    return page.replace(example[2], printed.getvalue(), 1).splitlines()


PAGES = {
    "options.md": options_page,
    "suite.md": suite_page,
    "providers.md": providers_page,
    "cli.md": cli_page,
}
SHARED_KEYS = "Keys of several providers"


def page_text(page):
    return "\n".join(PAGES[page]()) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(json_schema(), encoding="utf-8")
    for page in PAGES:
        (DOCS / page).write_text(page_text(page), encoding="utf-8")
