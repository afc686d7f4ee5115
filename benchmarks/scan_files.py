"""Measure `memleak scan` on whole files: processor time, wall time, and peak memory.

python benchmarks/scan_files.py            # 100,000 rows a format: some minutes
python benchmarks/scan_files.py 1000000

The rows have a prose text of 180 words each. Each format is scanned by one process and
by two. The time to start and to index the book, that of a file with one row, is
subtracted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import corpus
import pyarrow as pa
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "library"))
import log_rows

WORDS, DISTINCT = 180, 5_000
FORMATS = {
    "completions": log_rows.pair,
    "chat": log_rows.chat,
    "OpenAI batch": log_rows.openai_batch,
}
# A child's `ru_maxrss` begins with its parent's memory, so it reads its own peak.
RUN = """
import sys
from pathlib import Path
from pytest_memleak.cli.main import main
code = main()
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
sys.exit(code)
"""


class Cost(NamedTuple):
    """Seconds of the processor and of the wall, and peak memory of a process in MB."""

    processor: float
    wall: float
    memory: float


def scan(book: Path, logs: Path, jobs: int) -> Cost:
    """Scan a file, in `jobs` processes."""
    command = [sys.executable, "-c", RUN, "scan", str(book), "--logs", str(logs)]
    process = subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    begin = time.perf_counter()
    peak = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"memleak scan exits with {process.returncode}")
    processor = usage.ru_utime + usage.ru_stime
    return Cost(processor, wall, int(peak) / 1024)


def rows_of(format_: str, count: int, texts: list[str]) -> Iterator[dict[str, object]]:
    for number in range(count):
        yield FORMATS[format_](number, texts[number % len(texts)])


def write_lines(path: Path, format_: str, count: int, texts: list[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows_of(format_, count, texts):
            file.write(f"{json.dumps(row)}\n")


def write_parquet(path: Path, count: int, texts: list[str]) -> None:
    schema = pa.schema([("prompt", pa.string()), ("completion", pa.string())])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, count, 20_000):
            rows = [*rows_of("completions", min(20_000, count - first), texts)]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def report(name: str, book: Path, logs: Path, count: int, start: Cost) -> None:
    alone = scan(book, logs, 1)
    together = scan(book, logs, 2)
    processor = alone.processor - start.processor
    wall = alone.wall - start.wall
    sooner = wall / (together.wall - start.wall)
    print(
        f"{name}: {processor / count * 1e6:.1f} µs a row, "
        f"{count * WORDS / processor / 1e6:.1f} million words/s, "
        f"{alone.memory:.0f} MB; two processes {sooner:.2f} times as fast",
        flush=True,
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    texts = [
        " ".join(answer.text.split()[:WORDS]) for answer in corpus.answers(DISTINCT)
    ]
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "book.txt")
        excerpts = [excerpt.text for excerpt in corpus.book().excerpts]
        book.write_text("\n\n".join(excerpts), encoding="utf-8")
        logs = Path(folder, "rows.jsonl")
        write_lines(logs, "chat", 1, texts)
        scan(book, logs, 1)
        start = scan(book, logs, 1)
        print(f"start: {start.processor:.1f} s, {start.memory:.0f} MB", flush=True)
        for format_ in FORMATS:
            write_lines(logs, format_, count, texts)
            report(format_, book, logs, count, start)
        logs = Path(folder, "rows.parquet")
        write_parquet(logs, count, texts)
        report("Parquet", book, logs, count, start)


if __name__ == "__main__":
    main()
