# The gate in a container. No image was built of this here: a test runs its commands in a new
# environment (tests/test_dockerfile.py).
FROM python:3.13-slim
COPY pyproject.toml README.md LICENSE /src/
COPY pytest_memleak /src/pytest_memleak
COPY suites/quickstart /src/suites/quickstart
COPY fixtures/books /src/fixtures/books
RUN python -m venv /opt/memleak
RUN /opt/memleak/bin/pip install --no-cache-dir "/src[openai]"
ENV PATH="/opt/memleak/bin:$PATH"
# Suites, books and the ledger are mounted here; whoever owns them runs it with --user.
WORKDIR /gate
USER 1000:1000
CMD ["memleak", "--help"]
