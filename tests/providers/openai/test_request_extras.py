"""options.headers and options.query: on every request, and secrets only to named hosts."""

from functools import partial

import pytest
from clients import make_provider, sample

from pytest_memleak.errors import ProviderError, SuiteError

provider_of = partial(make_provider, "openai")
KEY = {"headers": {"api-key": {"env": "AZURE_KEY"}, "tenant": "books"}}


def test_headers_and_query_are_on_the_request(serve, monkeypatch):
    monkeypatch.setenv("AZURE_KEY", "azure-secret-0123456789")
    server = serve()
    options = {**KEY, "query": {"api-version": "2026-01-01"}}
    assert sample(provider_of(server, **options).open(None))
    request = server.recent[-1][1]
    assert request.headers["api-key"] == "azure-secret-0123456789"
    assert request.headers["tenant"] == "books"
    assert request.query["api-version"] == "2026-01-01"


def test_a_variable_goes_to_no_host_that_only_the_suite_names(monkeypatch):
    monkeypatch.setenv("AZURE_KEY", "azure-secret-0123456789")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    options = {**KEY, "base_url": "https://models.example/v1"}
    with pytest.raises(SuiteError, match=r"AZURE_KEY would go to models\.example"):
        provider_of(**options)
    assert provider_of(hosts=["models.example"], **options)
    with pytest.raises(SuiteError, match=r"AZURE_KEY would go to api\.openai\.com"):
        provider_of(**KEY)


def test_an_unset_variable_is_named_before_any_call(serve, monkeypatch):
    monkeypatch.delenv("AZURE_KEY", raising=False)
    server = serve()
    with pytest.raises(ProviderError, match="AZURE_KEY isn't set"):
        sample(provider_of(server, **KEY).open(None))
    assert server.plan.calls("chat") == 0


@pytest.mark.parametrize("value", ["key\n", "a\r\nx-evil: b", " key", "caf\u00e9"])
def test_a_variable_that_no_header_can_have_is_named_before_any_call(
    serve, monkeypatch, value
):
    monkeypatch.setenv("AZURE_KEY", value)
    server = serve()
    with pytest.raises(ProviderError, match="AZURE_KEY has characters") as error:
        sample(provider_of(server, **KEY).open(None))
    assert value.strip() not in str(error.value)
    assert server.plan.calls("chat") == 0


def test_a_secret_in_the_suite_is_rejected():
    with pytest.raises(SuiteError, match="looks like a secret"):
        provider_of(headers={"api-key": "azure-secret-0123456789"})


def test_another_tenant_is_another_endpoint():
    ids = {
        provider_of(headers={"tenant": name}).open(None).id for name in ("one", "two")
    }
    assert len(ids | {provider_of().open(None).id}) == 3
