"""A process that has imported whatever a provider's runs need, and forks a process for each run.

So a run is a process of its own, as from a shell, but is at work within a tenth of a
second.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

OURS = (
    *(
        "books.build_book",
        "plugin.session_run",
        "plugin.progress",
        "formats.paper_format",
    ),
    *("reports.terminal_summary", "sampling.remote_jobs", "sampling.loop"),
)
# What imports torch comes last, and nothing computes with it before the fork.
SDKS = {
    "openai": (),
    "vertex": (
        "agentplatform._genai.model_garden",
        "google.cloud.storage",
        "google.genai",
    ),
    "tinker": ("tinker", "transformers.models.auto.tokenization_auto"),
    "together": ("together",),
}
QUIETLY = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}
PLUGINS = ("pytest_memleak.plugin.hooks", "no:cacheprovider", "no:unraisableexception")


class Nursery:
    def __init__(self, provider):
        self._provider = provider

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._provider],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **QUIETLY},
        )
        return self

    def __exit__(self, *_):
        self._process.communicate(timeout=30)

    def run(self, folder, url, environment, *, workers=0, only=""):
        """Start pytest in `folder`, with no other plugin than ours but xdist's `workers`.

        only: a word of the names of the pairs that run
        """
        output = folder / f"output{only}.txt"
        xdist = ("-p", "xdist", "-n", str(workers)) if workers else ()
        plugins = (word for name in PLUGINS for word in ("-p", name))
        arguments = [
            *plugins,
            "-m",
            "copyright",
            "-k",
            only,
            "--memleak-ledger",
            url,
            *xdist,
        ]
        environment = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **environment,
        }
        requested = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
        }
        return Run(self, self.ask(start={**requested, "output": str(output)}), output)

    def ask(self, **request):
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass(frozen=True)
class Run:
    nursery: Nursery
    pid: int
    output: Path

    def kill(self):
        """Kill it and all its workers; whether it was still at work."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        killed = self.nursery.ask(wait=self.pid) == -signal.SIGKILL
        until = time.monotonic() + 30
        with contextlib.suppress(ProcessLookupError):
            while True:  # workers end when they are ended, not when they are told
                os.killpg(self.pid, 0)
                assert time.monotonic() < until
                time.sleep(0.01)
        return killed

    def ended(self):
        return bool(self.nursery.ask(ended=self.pid))

    def finish(self):
        """Wait for its end: the exit code, and the output."""
        code = self.nursery.ask(wait=self.pid)
        return code, self.output.read_text("utf-8")


def _serve(provider):
    ours = [f"pytest_memleak.{name}" for name in OURS]
    own = f"pytest_memleak.providers.{provider}.{provider}_provider"
    for name in ("pytest", "psycopg", "openai", *ours, own, *SDKS[provider]):
        # Without an extra, the tests that need it are skipped.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # what is there now is nobody's garbage
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                _run(**request["start"])
            answer = pid
        elif "ended" in request:
            # Looked at only: its exit code is for who waits for it.
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            answer = os.waitid(os.P_PID, request["ended"], flags) is not None
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _run(*, arguments, folder, environment, output):
    import pytest

    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor, source in ((0, nothing), (1, file), (2, file)):
        os.dup2(source, descriptor)
    sys.exit(pytest.main(arguments))


if __name__ == "__main__":
    _serve(sys.argv[1])
