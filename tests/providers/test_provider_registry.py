"""A key goes only to hosts that something outside the suite file names."""

import socket
from contextlib import nullcontext

import pytest

from pytest_memleak.errors import SuiteError
from pytest_memleak.providers.provider_registry import PROVIDERS, ProviderNeeds

OWN, ELSEWHERE = {}, {"base_url": "https://models.example/v1"}
OTHER_KEY = {"api_key_env": "DEPLOY_TOKEN"}


@pytest.fixture
def environment(monkeypatch):
    for needs in (built_in.needs for built_in in PROVIDERS.values()):
        for name in (*needs.variables, needs.address):
            monkeypatch.delenv(name, raising=False)

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("provider", ["openai", "vertex", "tinker"])
@pytest.mark.parametrize(("options", "hosts", "error"), [
    (OWN, (), None),
    (ELSEWHERE, (), "would go to models.example, which only this suite file names"),
    (ELSEWHERE, ("models.example.org",), "would go to models.example, which"),
    (ELSEWHERE, ("models.example",), None),
    ({"base_url": "https://MODELS.example:8443/v1"}, ("models.example",), None),
    ({"base_url": "http://models.example/v1"}, ("models.example",), "unencrypted"),
    ({"base_url": "http://localhost:8000/v1"}, (), None),
    ({"base_url": "http://127.0.0.9:8000/v1"}, (), None),
    ({"base_url": "http://[::1]:8000/v1"}, (), None),
    ({"base_url": "http://127.0.0.1.evil.example/v1"}, (), "unencrypted"),
    ({"base_url": "https://localhost.evil.example/v1"}, (), "evil.example"),
    # Clients read these differently.
    *(({"base_url": address}, ("evil.example", "models.example"), "isn't a plain address")
      for address in ("https://evil.example\\\\@googleapis.com", "https://?@evil.example/",
                      "https://models.example@evil.example/v1", "https://:443/x")),
])  # fmt: skip
def test_a_key_goes_to_named_hosts_alone(provider, options, hosts, error, environment):
    environment(OPENAI_API_KEY="sk-1", TINKER_API_KEY="tml-1", DEPLOY_TOKEN="x")
    needs = PROVIDERS[provider].needs
    with pytest.raises(SuiteError, match=error) if error else nullcontext() as raised:
        needs.validate_key_host(options, frozenset(hosts), place="a suite")
    assert not error or "which" not in error or "--memleak-host " in raised.value.hint


def test_a_secret_of_another_service_goes_nowhere_unnamed(environment):
    """Whoever may change the suite file chooses the variable, but not who receives it."""
    needs = PROVIDERS["openai"].needs
    environment(OPENAI_API_KEY="sk-1", DEPLOY_TOKEN="x")
    for options, host in (
        (OTHER_KEY, "api.openai.com"),
        (ELSEWHERE | OTHER_KEY, "models.example"),
    ):
        with pytest.raises(SuiteError, match=f"DEPLOY_TOKEN would go to {host}"):
            needs.validate_key_host(options, frozenset(), place="a suite")
        needs.validate_key_host(options, frozenset({host}), place="a suite")
    needs.validate_key_host(
        ELSEWHERE | {"api_key_env": "NOT_SET"}, frozenset(), place="a suite"
    )


def test_a_named_secret_goes_to_own_ports_of_this_machine_alone(environment):
    """Any user of the machine may listen at a port that is free."""
    needs = PROVIDERS["openai"].needs
    environment(OPENAI_API_KEY="sk-1", DEPLOY_TOKEN="x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address = {"base_url": f"http://127.0.0.1:{port}/v1"}
        needs.validate_key_host(address | OTHER_KEY, frozenset(), place="a suite")
    with pytest.raises(SuiteError, match=f"DEPLOY_TOKEN would go to port {port}") as no:
        needs.validate_key_host(address | OTHER_KEY, frozenset(), place="a suite")
    assert "add --memleak-host 127.0.0.1" in no.value.hint
    for options, hosts in ((address, ()), (address | OTHER_KEY, ("127.0.0.1",))):
        needs.validate_key_host(options, frozenset(hosts), place="a suite")


def test_a_provider_without_a_server_of_its_own_is_checked_too(environment):
    needs = ProviderNeeds(keys=("OTHER_KEY",), address="OTHER_URL")
    environment(OTHER_KEY="k")
    needs.validate_key_host(OWN, frozenset(), place="a suite")
    with pytest.raises(SuiteError, match="OTHER_KEY would go to models"):
        needs.validate_key_host(ELSEWHERE, frozenset(), place="a suite")


def test_the_environment_names_a_host(environment):
    needs = PROVIDERS["openai"].needs
    # Without a key, any host may be called.
    needs.validate_key_host(
        {"base_url": "http://models.example/v1"}, frozenset(), place="a suite"
    )
    environment(OPENAI_API_KEY="sk-1", OPENAI_BASE_URL="https://models.example/v1")
    needs.validate_key_host(OWN, frozenset(), place="a suite")
    needs.validate_key_host(ELSEWHERE, frozenset(), place="a suite")
    with pytest.raises(SuiteError, match="evil"):
        needs.validate_key_host(
            {"base_url": "https://evil.example"}, frozenset(), place="a suite"
        )
