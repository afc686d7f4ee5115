"""A provider's tables in a suite file: what is wrong is named, and no secret is shown."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pytest_memleak.errors import SuiteError
from pytest_memleak.providers.option_tables import Table, read_table

PLACE = "suite.memleak.toml, model m"


class Options(Table):
    size: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    name: str = "x"
    more: dict[str, Any] = Field(default_factory=dict)


def read(values):
    return read_table(Options, values, place=PLACE, name="options")


@pytest.mark.parametrize(("values", "message"), [
    ({"siez": 1}, "unknown key 'options.siez'"),
    ({"siez": 1}, "write size in place of siez"),
    ({"zoom": 1}, "keys of [[model]] go above this table; "),
    ({"size": "large"}, "options.size: Input should be a valid integer, unable to parse"),
    ({"size": "large"}, "or Input should be 'auto'; got 'large'"),
    ({"size": 0}, "options.size: Input should be greater than or equal to 1"),
    ({"name": 3}, "options.name: Input should be a valid string; got 3"),
    ({"more": "y" * 200}, "... (202 characters)"),
])  # fmt: skip
def test_a_wrong_value_is_named(values, message):
    with pytest.raises(SuiteError) as error:
        read(values)
    assert message in str(error.value)
    assert error.value.location == PLACE


def test_a_key_that_is_a_secret_is_masked():
    for values in (
        {"sk-proj-Vq3x9LmT0a": 1},
        {"more": {"sk-proj-Vq3x9LmT0a": "Bearer 12345678"}},
    ):
        with pytest.raises(SuiteError) as error:
            read(values)
        assert "Vq3x9" not in str(error.value)
        assert "[masked]" in str(error.value)


@pytest.mark.parametrize(("key", "value"), [
    *(
        ("name", secret)
        for secret in (
            *("sk-proj-Vq3x9LmT0aZr7Bn2Kd5W", "tml-Vq3x9LmT0aZr7Bn2Kd5W"),
            *("AIzaVq3x9LmT0aZr7Bn2Kd5WVq3x9LmT0aZr7B", "Vq3x9LmT0aZr7Bn2Kd5WVq3x9LmT0aZr"),
            *("-----BEGIN PRIVATE KEY-----", "https://ada:lovelace@example.org/"),
        )
    ),
    ("size", "sk-proj-Vq3x9LmT0aZr7Bn2Kd5W"),
    *((key, "lovelace") for key in ("api_key", "x-api-key", "Authorization", "client_secret")),
    *(("password", "lovelace"), ("access_token", "lovelace-lovelace")),
    ("header", "Bearer lovelace-lovelace"),
])  # fmt: skip
@pytest.mark.parametrize("depth", [0, 1])
def test_a_secret_is_refused_anywhere_and_not_shown(key, value, depth):
    values = {"more": {"list": [{key: value}]}} if depth else {key: value}
    with pytest.raises(SuiteError, match="environment variable") as error:
        read(values)
    assert value not in str(error.value) + repr(error.value)


@pytest.mark.parametrize(("key", "value"), [
    ("api_key_env", "OPENAI_API_KEY"),
    ("eos_token", "<|im_end|>"),
    ("max_tokens", "700"),
    ("model", "meta-llama/Llama-3.1-70B-Instruct-2024-08-06"),
    ("endpoint", "projects/123456789012/locations/us-central1/endpoints/1234567890123456789"),
    ("path", "tinker://0034d8c9-0a88-52a9-b2b7-bce7cb1e6fef/sampler_weights/000080"),
    ("system", "You are a sky-blue-sea-green-and-ever-so-patient copyist of the 1890s."),
    ("url", "http://127.0.0.1:8000/v1"),
])  # fmt: skip
def test_a_value_that_hardly_looks_like_a_secret_is_allowed(key, value):
    assert read({"more": {key: value}}).more == {key: value}
