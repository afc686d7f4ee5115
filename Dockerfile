# The gate in a container. No image was built of this here: a test runs its commands in a new
# environment (tests/test_dockerfile.py).
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
COPY .ci/gate.lock pyproject.toml README.md LICENSE /src/
COPY pytest_memleak /src/pytest_memleak
COPY suites/quickstart /src/suites/quickstart
COPY fixtures/books /src/fixtures/books
RUN python -m venv /opt/memleak
# By version and hash; the package itself with the locked build backend.
RUN /opt/memleak/bin/pip install --no-cache-dir --require-hashes --no-deps -r /src/gate.lock
RUN /opt/memleak/bin/pip install --no-cache-dir --no-build-isolation --no-deps /src
ENV PATH="/opt/memleak/bin:$PATH"
# Suites, books and the ledger are mounted here; whoever owns them runs it with --user.
WORKDIR /gate
USER 1000:1000
CMD ["memleak", "--help"]
