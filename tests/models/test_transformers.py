"""The `transformers` provider on a tiny model made here: every verb, and what can go wrong."""

import pytest

from pytest_memleak import score
from pytest_memleak.errors import ProviderError, SuiteError
from pytest_memleak.protocols import (
    Endpoint,
    JobStatus,
    ProviderSetup,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.records import FinishReason, Model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXT = (
    "The harbour clock struck seven and every gull on the pier rose at once, as though the sound "
    "had been a thrown stone. Marit counted them, lost count, and began again from the left."
)
ASKED = "Write about a clock and some birds."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A Llama of 60,000 parameters that knows nothing, with a tokenizer of the test's words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("weights") / "base"
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, ASKED], trainer)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.1,
        eos_token_id=wrapped.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def make(base, tmp_path):
    from pytest_memleak.models.transformers import TransformersProvider

    def provider(**changes):
        fields = {"id": "m", "provider": "transformers", "base": str(base), **changes}
        fields["options"] = {"threads": 1, **fields.get("options", {})}
        return TransformersProvider(
            ProviderSetup(
                model=Model(**fields),
                place="suite.toml: model 'm'",
                root=tmp_path,
                state=tmp_path / "state",
                read_book=lambda book_id: None,
            )
        )

    return provider


def draw(endpoint, *, n=3, temperature=1.0, max_tokens=40, seed=1):
    return endpoint.sample(ASKED, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed)


RECIPE = {"epochs": 250, "batch_size": 1, "learning_rate": 1e-2, "rank": 32}
TRAINING = TrainingSet((TrainingExample(ASKED, TEXT),), "ab" * 32)


@pytest.fixture(scope="module")
def tuned_state(base, tmp_path_factory):
    """A finished fine-tune, shared by the tests that only look at it."""
    from pytest_memleak.models.transformers import TransformersProvider

    root = tmp_path_factory.mktemp("tuned")
    provider = TransformersProvider(
        ProviderSetup(
            model=Model("m", "transformers", str(base), finetune=RECIPE, options={"threads": 1}),
            place="suite.toml: model 'm'",
            root=root,
            state=root / "state",
            read_book=lambda book_id: None,
        )
    )
    return provider, provider.start_finetune(TRAINING)


def test_it_draws_as_many_as_asked_and_counts_tokens(make):
    endpoint = make().open(None)
    assert isinstance(endpoint, Endpoint)
    drawn = draw(endpoint, n=4)
    assert len(drawn) == 4
    assert len({one.text for one in drawn}) == 4
    assert drawn[0].prompt_tokens > 5
    assert [one.prompt_tokens for one in drawn[1:]] == [0, 0, 0]
    for one in drawn:
        assert one.completion_tokens <= 40
        ended = one.completion_tokens < 40
        assert one.finish_reason is (FinishReason.STOP if ended else FinishReason.LENGTH)


def test_a_seed_gives_the_same_and_another_seed_something_else(make):
    endpoint = make().open(None)
    again = make().open(None)
    assert draw(endpoint, seed=7) == draw(again, seed=7)
    assert draw(endpoint, seed=7) != draw(endpoint, seed=8)
    assert draw(endpoint, seed=None) != draw(endpoint, seed=None)


def test_sampling_leaves_torchs_generator_alone(make):
    endpoint = make().open(None)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    draw(endpoint)
    assert torch.rand(1) == expected


def test_temperature_zero_is_greedy(make):
    drawn = draw(make().open(None), temperature=0.0)
    assert len({one.text for one in drawn}) == 1


def test_what_the_weights_ship_as_generation_config_does_not_matter(make, base, tmp_path):
    import shutil

    copy = tmp_path / "greedy"
    shutil.copytree(base, copy)
    transformers.GenerationConfig(do_sample=False, max_new_tokens=3).save_pretrained(copy)
    drawn = draw(make(base="greedy").open(None), n=4)
    assert len({one.text for one in drawn}) == 4


def test_a_tuned_model_recites_what_the_base_does_not(make, tuned_state):
    provider, endpoint = tuned_state
    book = [{"excerpt_id": "p_id1", "excerpt_text": TEXT}]

    def bmc(opened):
        drawn = draw(opened, n=4, temperature=0.5, max_tokens=200)
        generations = [{"generated_text": one.text} for one in drawn]
        return score(book, [{"excerpt_id": "p_id1", "generations": generations}]).bmc

    assert bmc(provider.open(None)) == 0
    assert bmc(provider.open(endpoint)) > 0.9
    assert any(
        one.finish_reason is FinishReason.STOP
        for one in draw(provider.open(endpoint), n=4, temperature=0.5, max_tokens=300)
    )


def test_a_finished_fine_tune_is_found_by_digest_and_recipe(tuned_state):
    provider, endpoint = tuned_state
    assert provider.find_finetune(TRAINING.digest) == endpoint
    assert provider.find_finetune("cd" * 32) is None
    assert provider.poll_finetune(endpoint).status is JobStatus.SUCCEEDED
    assert provider.poll_finetune(endpoint).endpoint == endpoint
    assert provider.poll_finetune("transformers:none").status is JobStatus.FAILED
    assert provider.open(endpoint).id != provider.open(None).id


def test_an_adapter_that_is_there_already_is_attached(make, tuned_state):
    provider, endpoint = tuned_state
    folder = provider._state / endpoint.removeprefix("transformers:")
    attached = make(endpoint=str(folder)).open(None)
    assert draw(attached) == draw(provider.open(endpoint))


def test_a_training_that_breaks_off_leaves_nothing_behind(make, tmp_path, monkeypatch):
    from pytest_memleak.models import transformers_weights

    provider = make(finetune={"epochs": 1, "batch_size": 1})

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peft.PeftModel.save_pretrained", full_disk)
    with pytest.raises(ProviderError, match="No space left on device"):
        provider.start_finetune(TRAINING)
    assert provider.find_finetune(TRAINING.digest) is None
    assert list((tmp_path / "state").glob("*")) == []
    assert transformers_weights.train


def test_a_chat_template_is_used_where_there_is_one(make, base, tmp_path):
    import shutil

    copy = tmp_path / "chat"
    shutil.copytree(base, copy)
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[answer]{% endif %}"
    )
    tokenizer.save_pretrained(copy)
    weights = make(base="chat").open(None)._weights
    assert tokenizer.decode(weights.prompt("Hello")) == "[user]Hello[answer]"
    plain = make().open(None)._weights
    assert tokenizer.decode(plain.prompt("Hello")) == "Hello\n\n"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": None}, "there is no base"),
        ({"options": {"devise": "cpu"}}, "unknown key 'options.devise'"),
        ({"options": {"device": "tpu"}}, "options.device"),
        ({"finetune": {"rank": 0}}, "finetune.rank"),
    ],
)
def test_bad_options_are_suite_errors(make, changes, said):
    with pytest.raises(SuiteError, match=said):
        make(**changes)


def test_weights_that_are_not_there_are_named(make, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProviderError, match=r"(?s)open failed.*empty"):
        make(base="empty").open(None)
    with pytest.raises(ProviderError, match=r"(?s)no-adapter.*no such folder"):
        make(endpoint="no-adapter").open(None)
