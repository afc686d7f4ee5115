"""Runs whose server is not there, cannot be found or cannot be trusted: nothing is spent."""

import socket
import ssl
import subprocess
import threading
from collections import Counter

import pytest
from accounts import contents

from pytest_memleak.ledger.call_outcomes import run_spending
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.sampling.retry import Retry

KINDS = [
    *((kind, False) for kind in ("openai", "vertex", "tinker", "openai-store", "openai-batch")),
    *(("vertex-batch", False), ("vertex-open", True), ("openai", True), ("together", True)),
]
WHAT = ("a closed port", "no such host", "a bad certificate")
NOWHERE = "no-such-host.invalid"
MOST_SECONDS = 10


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory):
    """The address of a server whose certificate nobody has signed but itself."""
    path = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path.with_name("key.pem"), "-out", path]
    subprocess.run([*command.split(), *named, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_name("key.pem"))
    listener = socket.create_server(("127.0.0.1", 0))

    def shake_hands():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # it was closed
            connection.settimeout(5)
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()  # whoever came did not trust us

    thread = threading.Thread(target=shake_hands, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.fixture
def address(untrusted):
    def of(what):
        if what == "a bad certificate":
            return untrusted
        if what == "no such host":
            return f"https://{NOWHERE}:8000"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{free.getsockname()[1]}"

    return of


@pytest.mark.full
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(("kind", "tuned"), KINDS)
def test_it_is_told_soon_and_nothing_is_spent(scenario, run, pytester, address, kind, tuned, what):
    server = scenario(kind)
    base = address(what) + ("/v1" if server.provider == "openai" else "")
    server.write_suite(pytester.path, tuned=tuned, base_url=base)
    waited = Counter()  # by thread: calls wait side by side

    def pause(_, seconds):
        waited[threading.get_ident()] += seconds

    as_it_is = Retry(pause=pause)
    outcome = run(server, "--memleak-budget=50", f"--memleak-host={NOWHERE}", retry=as_it_is)
    assert outcome.result.parseoutcomes() == {"errors": 1}
    assert "INCONCLUSIVE" in outcome.text
    assert "Nothing was sent or billed" in outcome.text
    assert base.split("//")[1].split("/")[0].split(":")[0] in outcome.text
    assert max(waited.values(), default=0) <= MOST_SECONDS
    ledger = contents(outcome.url)
    assert {call.state for call in ledger.calls} <= {"failed"}
    assert {job.state for job in (*ledger.jobs, *ledger.batches)} <= {"failed"}
    assert not ledger.claims
    with Ledger(outcome.url, create=False) as opened:
        runs = {call.run for call in ledger.calls}
        assert sum(opened.read(lambda c: run_spending(c, runs)).values()) == 0
    assert not server.books.rows()
