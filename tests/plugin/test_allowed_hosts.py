"""Nothing is sent to a host that the suite file alone names."""

import pytest

from pytest_memleak.cli.main import main


@pytest.fixture
def foreign(online, server, monkeypatch):
    """A suite that sends another service's secret to a server, which isn't this machine's."""
    monkeypatch.setattr(
        "pytest_memleak.providers.provider_registry.is_loopback",
        lambda host: host == "localhost",
    )
    monkeypatch.setenv("DEPLOY_TOKEN", "secret-of-another-service")
    return online(("[model.options]", '[model.options]\napi_key_env = "DEPLOY_TOKEN"'))


@pytest.mark.parametrize("options", [(), ("--memleak-dry-run",)])
def test_a_foreign_server_receives_nothing(pytester, foreign, server, options):
    result = pytester.runpytest("-m", "copyright", *options)
    assert result.ret != 0
    assert "DEPLOY_TOKEN would go to 127.0.0.1 unencrypted" in result.stdout.str()
    assert not server.recent


def test_an_https_server_is_named_with_its_option(pytester, foreign, server):
    foreign.write_text(foreign.read_text().replace("http://", "https://"))
    result = pytester.runpytest("-m", "copyright")
    shown = "*DEPLOY_TOKEN would go to 127.0.0.1, which only this suite file names*"
    result.stdout.fnmatch_lines([shown, "*add --memleak-host 127.0.0.1*"])
    named = pytester.runpytest("--memleak-dry-run", "--memleak-host", "127.0.0.1")
    assert "would go to" not in named.stdout.str()
    for value in ("https://models.example", "models.example/v1", ""):
        wrong = pytester.runpytest("-m", "copyright", f"--memleak-host={value}")
        wrong.stderr.fnmatch_lines(
            ["*--memleak-host: expected a host, as in api.example.com*"]
        )


@pytest.mark.parametrize(
    ("service", "job"),
    [("github", ".github/workflows/memorization.yml"), ("gitlab", ".gitlab-ci.yml")],
)
def test_init_writes_the_option_into_the_job(pytester, service, job):
    pytester.makefile(".txt", book="It was a dark night. " * 200)
    init = ["init", "--book", "book.txt", "--model", "openai/small", "--ci", service]
    assert main([*init, "--base-url", "https://models.example/v1"]) == 0
    text = (pytester.path / job).read_text()
    assert "--memleak-quote 0 --memleak-host models.example --junitxml" in text
    suite = (pytester.path / "release.memleak.toml").read_text()
    assert (
        "pytest -m copyright release.memleak.toml --memleak-host models.example"
        in suite
    )
