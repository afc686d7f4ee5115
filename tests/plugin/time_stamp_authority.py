"""An authority of one's own that stamps times (RFC 3161), made by openssl, and its server."""

import http.server
import subprocess
import threading
from pathlib import Path

from signing_keys import openssl

AUTHORITY = """
[tsa]
default_tsa = clock
[clock]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_alg = sha256
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[stamp]
basicConstraints = CA:FALSE
extendedKeyUsage = critical,timeStamping
"""


def make_authority():
    """Keys of an authority, of the intermediate one that certified it, and of another."""
    Path("ts.cnf").write_text(AUTHORITY, encoding="utf-8")
    Path("serial").write_text("01\n", encoding="utf-8")
    new = "-config ts.cnf -newkey rsa:2048 -nodes"
    for key, name in (("ca", "root"), ("x", "other")):
        files = f"-keyout {key}.key -out {key}.pem"
        openssl(f"req -x509 {new} -extensions root {files} -subj /CN={name}")
    for key, issuer, extension in (
        ("middle", "ca", "root"),
        ("tsa", "middle", "stamp"),
    ):
        openssl(f"req -new {new} -keyout {key}.key -out {key}.csr -subj /CN={key}")
        by_issuer = f"-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"
        extensions = f"-extfile ts.cnf -extensions {extension}"
        openssl(f"x509 -req -in {key}.csr {by_issuer} -out {key}.pem {extensions}")


class StampServer:
    """Answers queries on loopback with the authority in a folder."""

    def __init__(self, folder):
        self._folder = folder

    def __enter__(self):
        folder = self._folder

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                query = self.rfile.read(int(self.headers["Content-Length"]))
                answer = stamp(folder, query)
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def stamp(folder, query):
    """The authority's response to a query, both DER."""
    (folder / "asked.tsq").write_bytes(query)
    command = (
        "openssl ts -reply -config ts.cnf -section clock -queryfile asked.tsq "
        "-out answer.tsr -signer tsa.pem -inkey tsa.key -chain middle.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return (folder / "answer.tsr").read_bytes()
