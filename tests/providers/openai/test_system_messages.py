"""options.system: a text, a list, or a file; finetune.system: trained with it, too."""

import json
from functools import partial

import pytest
from clients import INSTRUCTION, OTHER, bodies, finish, make_provider, sample, training

from pytest_memleak.errors import Inconclusive, SuiteError

TWO = ["Keep to the words.", "Keep their order."]
provider_of = partial(make_provider, "openai")


def messages_of(server):
    return bodies(server, "chat")[-1]["messages"]


def test_a_list_is_sent_as_messages_in_order(serve):
    server = serve()
    sample(provider_of(server, system=TWO).open(None))
    assert messages_of(server) == [
        {"role": "system", "content": TWO[0]},
        {"role": "system", "content": TWO[1]},
        {"role": "user", "content": INSTRUCTION},
    ]


def test_a_file_is_read_beside_the_suite(serve, tmp_path):
    server = serve()
    (tmp_path / "system.json").write_text(json.dumps(TWO), "utf-8")
    system = {"file": "system.json"}
    from_file = provider_of(server, root=tmp_path, system=system).open(None)
    listed = provider_of(server, system=TWO).open(None)
    assert from_file.id == listed.id
    sample(from_file)
    assert [row["content"] for row in messages_of(server)[:2]] == TWO


def test_a_single_text_keeps_its_endpoints_name():
    as_text = provider_of(system="Be brief.").open(None)
    assert as_text.id == provider_of(system=["Be brief."]).open(None).id
    assert as_text.id != provider_of(system=TWO).open(None).id


def test_a_missing_file_leaves_the_pair_inconclusive(tmp_path):
    with pytest.raises(Inconclusive, match=r"no such file: .*system\.json"):
        provider_of(root=tmp_path, system={"file": "system.json"})


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", '"text"', "\ufeff[["])
def test_a_file_of_another_form_is_rejected(tmp_path, content):
    (tmp_path / "system.json").write_text(content, "utf-8")
    with pytest.raises(SuiteError, match="isn't a list of system messages") as error:
        provider_of(root=tmp_path, system={"file": "system.json"})
    assert "expected a JSON list of texts" in error.value.hint


@pytest.mark.parametrize("system", [[], 3, {"path": "x"}, [1]])
def test_another_value_is_rejected(system):
    with pytest.raises(SuiteError, match=r"options\.system"):
        provider_of(system=system)


@pytest.mark.parametrize("name", ["openai", "together", "vertex"])
def test_training_with_system_needs_a_message(name):
    options = {"deployment": {}} if name == "together" else {}
    options |= {"bucket": "gs://b"} if name == "vertex" else {}
    with pytest.raises(SuiteError, match=r"finetune\.system is true"):
        make_provider(name, books=["b"], finetune={"system": True}, **options)


def test_examples_begin_with_the_system_messages(serve):
    server = serve()
    provider = provider_of(server, books=["b"], finetune={"system": True}, system=TWO)
    finish(provider.poll_finetune, provider.start_finetune(training()))
    (content,) = (
        file["data"]
        for file in server._files.values()
        if file["purpose"] == "fine-tune"
    )
    assert json.loads(content)["messages"] == [
        {"role": "system", "content": TWO[0]},
        {"role": "system", "content": TWO[1]},
        {"role": "user", "content": "Write the other."},
        {"role": "assistant", "content": OTHER},
    ]
    assert provider.abilities.finetuning.system == tuple(TWO)
    assert provider_of(server, system=TWO).abilities.finetuning.system == ()
