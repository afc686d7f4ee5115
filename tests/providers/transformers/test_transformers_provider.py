"""The `transformers` provider on a tiny model made here: every verb, and what can go wrong."""

import json
import logging
import math
import shutil
import subprocess
import sys
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients import PLACE, make_provider, sample
from tiny_weights import save_llama

from pytest_memleak.errors import ProviderError, SuiteError
from pytest_memleak.interfaces.protocols import (
    JobStatus,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.records import FinishReason

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from pytest_memleak.providers.transformers import (  # noqa: E402
    local_endpoint,
    local_provider,
    lora,
)
from pytest_memleak.providers.transformers.local_endpoint import (  # noqa: E402
    MODEL_SLOT,
    LocalEndpoint,
)
from pytest_memleak.providers.transformers.local_format import Format, PromptWording  # noqa: E402
from pytest_memleak.providers.transformers.weights import (  # noqa: E402
    Loaded,
    WeightsToLoad,
    find_base,
    load,
)

TEXT = (
    "The harbour clock struck seven and every gull on the pier rose at once, as though "
    "the sound "
    "had been a thrown stone. Marit counted them, lost count, and began again from the "
    "left."
)
ASKED = "Write about a clock and some birds."
BLANK = "Write nothing at all."
TRAINING = TrainingSet(
    (TrainingExample(ASKED, TEXT), TrainingExample(BLANK, "\n")), "ab" * 32
)
RECIPE = {"epochs": 120, "batch_size": 1, "learning_rate": 1e-2}
ONE_STEP = {"epochs": 1}
CONTEXT = 256
CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{{ mood }}{% endif %}"
)


def make_tokenizer():
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    settings = {"special_tokens": ["<unk>", "<end>"], "show_progress": False}
    tokenizer.train_from_iterator([TEXT, ASKED], 360, 0, **settings)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>"
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A Llama of 60,000 parameters that knows nothing, with a tokenizer of the test's words."""
    folder = tmp_path_factory.mktemp("weights") / "base"
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    sizes, end = (48, 96, 2, 4, CONTEXT), tokenizer.eos_token_id
    return save_llama(
        folder, len(tokenizer), sizes, initializer_range=0.1, eos_token_id=end
    )


@pytest.fixture
def copy(base, tmp_path):
    """The base once more, to be changed."""
    return shutil.copytree(base, tmp_path / "copy")


def provider_in(root, *, base=None, **options):
    options = {"threads": 1, "device": "cpu", **options}
    return make_provider(
        "transformers", base=base, root=root, state=root / "state", **options
    )


@pytest.fixture
def make(base, tmp_path):
    return lambda **fields: provider_in(tmp_path, **{"base": str(base), **fields})


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    """A provider with a finished fine-tune, and its endpoint; to be looked at only."""
    provider = provider_in(
        tmp_path_factory.mktemp("tuned"), base=str(base), finetune=RECIPE
    )
    return provider, provider.start_finetune(TRAINING)


@pytest.fixture
def loaded(base, tmp_path):
    where = find_base(str(base), root=tmp_path, revision=None, place=PLACE)
    return load(WeightsToLoad(where, None, "cpu", "auto"), endpoint="test")


def draw(endpoint, instruction=ASKED, *, n=3, **changes):
    return sample(endpoint, n, instruction, **{"max_tokens": 40, "seed": 1, **changes})


def texts(*args, **kwargs):
    return [answer.text for answer in draw(*args, **kwargs)]


def adapter_of(provider, endpoint):
    return (
        provider._setup.state / endpoint.partition("+")[2].partition(".")[0] / "adapter"
    )


def edit_json(path, **changes):
    path.write_text(
        json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8"
    )


def test_an_endpoint_samples_as_many_as_requested_and_counts_tokens(make):
    endpoint = make(completions_per_call=3).open(None)
    completions = draw(endpoint, n=4)
    assert len({answer.text for answer in completions}) == 4
    assert completions[0].prompt_tokens == len(make_tokenizer().encode(f"{ASKED}\n\n"))
    assert [answer.prompt_tokens for answer in completions[1:]] == [0, 0, 0]
    for answer in completions:
        ended = answer.completion_tokens < 40
        assert answer.finish_reason is (
            FinishReason.STOP if ended else FinishReason.LENGTH
        )


def test_an_answer_depends_on_its_seed_alone(make):
    together = texts(make().open(None), n=5, seed=30)
    assert [texts(make().open(None), n=1, seed=30 + i)[0] for i in range(5)] == together
    assert texts(make(completions_per_call=2).open(None), n=5, seed=30) == together
    assert not {*together} & {*texts(make().open(None), n=5, seed=40)}
    assert texts(make().open(None), seed=None) != texts(make().open(None), seed=None)


HALF = {"num_key_value_heads": 2}
LAYERS = ["sliding_attention", "full_attention"]
ARCHITECTURES = {  # their configuration, and whether keys and values are all that they keep
    "Mistral": ({**HALF, "sliding_window": 16}, True),
    "Gemma2": ({**HALF, "head_dim": 8, "layer_types": LAYERS}, True),
    "GPT2": ({}, True),
    "Bloom": ({}, True),  # tokens have no places but by their distance
    "Mamba": ({}, False),
    "Lfm2": ({**HALF, "layer_types": ["conv", "full_attention"]}, False),
}


@pytest.fixture
def other(make, tmp_path):
    """Makes an endpoint of random weights of an architecture."""

    def made(architecture, **options):
        tokenizer = make_tokenizer()
        tokenizer.save_pretrained(tmp_path / "other")
        own, _ = ARCHITECTURES[architecture]
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        ends = {
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": None,
        }
        config = getattr(transformers, f"{architecture}Config")(
            vocab_size=len(tokenizer), initializer_range=0.3, **sizes, **ends, **own
        )
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(tmp_path / "other")
        return make(base="other", **options).open(None)

    return made


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_is_read_once_and_a_finished_row_leaves(
    other, monkeypatch, architecture
):
    endpoint = other(architecture)
    once = ARCHITECTURES[architecture][1]
    completions = draw(endpoint, n=20)
    read = []
    hook = MODEL_SLOT._loaded.model.register_forward_pre_hook(
        lambda model, args, inputs: read.append(inputs["input_ids"].numel()),
        with_kwargs=True,
    )
    assert texts(endpoint, n=20) == [completion.text for completion in completions]
    hook.remove()
    # The last token of a text is not read.
    written = sum(completion.completion_tokens - 1 for completion in completions)
    assert (sum(read) == completions[0].prompt_tokens + written) is once
    assert any(completion.completion_tokens < 40 for completion in completions)
    monkeypatch.setattr(local_endpoint, "_repeatable_cache", lambda prefill: ("", None))
    assert texts(endpoint, n=20) == [completion.text for completion in completions]


def several_requests():
    """Requests of prompts, lengths, and temperatures of their own."""
    prompts = [ASKED, "Count.", f"{TEXT} {ASKED}", "Write about gulls, at once."]
    return [
        SampleRequest("", prompt, number % 3 + 1, number % 2 * 1.0, 12 + 5 * number, 7)
        for number, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_requests_together_bring_what_each_brings_alone(other, architecture):
    endpoint = other(architecture, dtype="float32")
    alone = [endpoint.answer(request) for request in several_requests()]
    assert endpoint.sample_many(several_requests()) == alone
    assert [len(answers) for answers in alone] == [1, 2, 3, 1]
    assert len({answer.text for answers in alone for answer in answers}) == 5
    assert (
        other(architecture, completions_per_call=2).sample_many(several_requests())
        == alone
    )


def test_requests_together_are_sampled_side_by_side(other):
    endpoint = other("Mistral")
    requests = [SampleRequest("", f"Write {n}.", 1, 0.0, 20, None) for n in range(30)]
    endpoint.answer(requests[0])
    read = []
    hook = MODEL_SLOT._loaded.model.register_forward_pre_hook(
        lambda model, args, inputs: read.append(len(inputs["input_ids"])),
        with_kwargs=True,
    )
    together = endpoint.sample_many(requests)
    hook.remove()
    assert max(read) == 30
    assert len(read) <= 20
    assert all(answers[0].completion_tokens <= 20 for answers in together)


NO_MEMORY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(), RuntimeError(NO_MEMORY)], ids=repr
)
def test_an_endpoint_out_of_memory_samples_fewer_side_by_side(make, monkeypatch, error):
    expected = texts(make().open(None), n=9)
    sizes, most = [], 3
    sample_rows = LocalEndpoint._sample_rows

    def lack_memory(self, loaded, rows):
        sizes.append(len(rows))
        if len(rows) > most:
            raise error
        sample_rows(self, loaded, rows)

    monkeypatch.setattr(LocalEndpoint, "_sample_rows", lack_memory)
    endpoint = make(completions_per_call=9).open(None)
    with pytest.warns(
        UserWarning, match="completions_per_call was reduced from 9 to 2"
    ) as warned:
        assert texts(endpoint, n=9) == expected
    assert texts(endpoint, n=3) == expected[:3]
    assert sizes == [9, 2, 2, 2, 2, 1, 2, 1]
    assert len(warned) == 1
    most = 1
    with pytest.raises(
        ProviderError, match=r"(?s)enough memory.*smaller options\.completions_per_call"
    ):
        draw(make(completions_per_call=8).open(None), n=8)
    assert sizes[8:] == [8, 2]


def test_torch_and_transformers_are_left_as_they_were(make):
    endpoint = make().open(None)
    log = transformers.utils.logging
    log.set_verbosity(logging.INFO)
    log.enable_progress_bar()
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(1)
    try:
        torch.manual_seed(3)
        draw(endpoint)
        make(finetune=ONE_STEP).start_finetune(TRAINING)
        assert torch.rand(1) == expected
        assert log.get_verbosity() == logging.INFO
        assert log.is_progress_bar_enabled()
        assert torch.get_num_threads() == threads
    finally:
        log.set_verbosity_warning()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_tokens_come_as_often_as_the_model_says(make, loaded, temperature):
    endpoint = make(completions_per_call=1000).open(None)
    prompt = loaded.tokenizer.encode(f"{ASKED}\n\n")
    completions = draw(endpoint, n=8000, max_tokens=1, temperature=temperature, seed=0)
    with torch.no_grad():
        scores = loaded.model(torch.tensor([prompt])).logits[0, -1]

    def distance(temperature):
        """Total variation; tokens that are no text by themselves look alike."""
        expected = Counter()
        for token, share in enumerate(torch.softmax(scores / temperature, -1).tolist()):
            expected[loaded.tokenizer.decode([token], skip_special_tokens=True)] += (
                share
            )
        assert {answer.text for answer in completions} <= expected.keys()
        came = Counter(answer.text for answer in completions)
        return (
            sum(abs(came[text] / 8000 - share) for text, share in expected.items()) / 2
        )

    assert distance(temperature) < 0.06
    assert distance(temperature * 2) > 0.09


def test_temperature_zero_takes_the_likeliest(make, loaded):
    (text,) = set(texts(make().open(None), temperature=0.0, max_tokens=5))
    tokens = loaded.tokenizer.encode(f"{ASKED}\n\n")
    start = len(tokens)
    with torch.no_grad():
        for _ in range(5):
            tokens.append(
                loaded.model(torch.tensor([tokens])).logits[0, -1].argmax().item()
            )
    assert text == loaded.tokenizer.decode(tokens[start:])


def test_a_shipped_generation_config_does_not_shape_answers(make, copy):
    expected = texts(make().open(None))
    transformers.GenerationConfig(
        do_sample=True,
        top_k=1,
        repetition_penalty=9.0,
        max_new_tokens=3,
        eos_token_id=1,
    ).save_pretrained(copy)
    assert texts(make(base="copy").open(None)) == expected


def test_an_answer_ends_with_any_of_the_tokens_that_end_answers(make, copy):
    common = make_tokenizer().encode(" the")
    transformers.GenerationConfig(eos_token_id=[1, *range(200, 360)]).save_pretrained(
        copy
    )
    assert common[0] in range(200, 360)
    completions = draw(make(base="copy").open(None), n=20)
    assert all(answer.completion_tokens < 40 for answer in completions)
    assert {answer.finish_reason for answer in completions} <= {
        FinishReason.STOP,
        FinishReason.EMPTY,
    }


def test_an_answer_is_cut_where_the_context_ends(make):
    completions = draw(make().open(None), n=20, max_tokens=10_000)
    room = CONTEXT - completions[0].prompt_tokens
    for answer in completions:
        cut = answer.completion_tokens == room
        assert answer.finish_reason is (
            FinishReason.LENGTH if cut else FinishReason.STOP
        )
    assert any(answer.finish_reason is FinishReason.LENGTH for answer in completions)


def test_an_impossible_request_is_rejected_unquoted(make):
    with pytest.raises(
        ProviderError, match=r"has 2,\d+ tokens; the model's context has 256"
    ) as it:
        draw(make().open(None), "gull" * 1200)
    assert "gull" not in str(it.value)
    for requested in ({"temperature": -0.1}, {"max_tokens": 0}):
        with pytest.raises(ProviderError, match="can't be sampled"):
            draw(make().open(None), **requested)


def form_of(
    loaded, template=None, *, system=None, begin=None, plain=False, **variables
):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    tokenizer.bos_token = begin
    wording = PromptWording(system, variables, plain=plain)
    return Format(Loaded(loaded.model, tokenizer, loaded.stop), wording)


def test_the_plain_form(loaded):
    decode = make_tokenizer().decode
    assert decode(form_of(loaded).prompt("Hello")) == "Hello\n\n"
    form = form_of(loaded, system="Be kind.", begin="<unk>")
    assert decode(form.prompt("Hello")) == "<unk>Be kind.\n\nHello\n\n"
    lesson = form.tokenize_example("Hello", "Ahoy")
    assert lesson.prompt == form.prompt("Hello")
    assert decode(lesson.answer) == "Ahoy<end>"


def test_the_form_of_a_chat_template(loaded):
    decode = make_tokenizer().decode
    form = form_of(loaded, CHAT, system="Be kind.")
    requested = "[system]Be kind.<end>[user]Hello<end>[assistant]"
    assert decode(form.prompt("Hello")) == requested
    assert decode(form.tokenize_example("Hello", "Ahoy").answer) == "Ahoy<end>"
    assert decode(form_of(loaded, CHAT, mood="(glad)").prompt("Hi")).endswith(
        "[assistant](glad)"
    )
    # A prompt that is no beginning of the whole chat: the answer stands by itself, and
    # is ended.
    assert (
        decode(
            form_of(loaded, CHAT, mood="(glad)").tokenize_example("Hi", "Ahoy").answer
        )
        == "Ahoy<end>"
    )
    without_end = CHAT.replace("<end>", "")
    assert (
        decode(form_of(loaded, without_end).tokenize_example("Hi", "Ahoy").answer)
        == "Ahoy<end>"
    )


def test_chat_weights_are_trained_and_sampled_as_plain_text_where_the_suite_says_so(
    loaded,
):
    plain = form_of(loaded)
    chatless = form_of(loaded, CHAT, plain=True)
    assert chatless.prompt("Hello") == plain.prompt("Hello")
    assert chatless.tokenize_example("Hello", "Ahoy") == plain.tokenize_example(
        "Hello", "Ahoy"
    )


def test_plain_text_of_chat_weights_continues_a_text_and_has_an_id_of_its_own(
    make, copy
):
    edit_json(copy / "tokenizer_config.json", chat_template=CHAT)
    chat = make(base=str(copy)).open(None)
    plain = make(base=str(copy), api="completions").open(None)
    assert plain.id != chat.id
    assert chat.continuing() is None
    assert plain.continuing().id == f"{plain.id}#text"
    assert texts(plain) != texts(chat)
    with pytest.raises(SuiteError, match="chat_variables need a chat"):
        make(api="completions", chat_variables={"mood": "glad"})


def test_the_id_has_a_digest_of_every_prompts_wording(make):
    plain = make().open(None).id
    polite = make(system="Be kind.").open(None).id
    assert polite.startswith(f"{plain}#")
    assert "kind" not in repr(make(system="Be kind.").open(None))
    changed = make(chat_variables={"enable_thinking": False}).open(None).id
    assert len({plain, polite, changed, make(dtype="bfloat16").open(None).id}) == 4
    assert draw(make(dtype="bfloat16").open(None))


def test_a_finished_fine_tune_is_found_by_all_that_made_it(tuned, make, base, copy):
    provider, endpoint = tuned
    root = provider._setup.root

    def result(**fields):
        provider = provider_in(
            root, **{"base": str(base), "finetune": RECIPE, **fields}
        )
        return provider.find_finetune(TRAINING.digest)

    assert result() == endpoint
    assert result(base=str(copy)) == endpoint  # the same weights in another place
    assert provider.find_finetune("cd" * 32) is None
    assert result(finetune={**RECIPE, "seed": 1}) is None
    assert result(system="Be kind.") is None
    (copy / "generation_config.json").write_text("{}")
    assert result(base=str(copy)) is None


def test_poll_tells_what_is_there_and_a_blank_answer_is_empty(tuned):
    provider, endpoint = tuned
    completions = draw(provider.open(endpoint), BLANK, n=4, temperature=0.2)
    assert {answer.finish_reason for answer in completions} == {FinishReason.EMPTY}
    state = provider.poll_finetune(endpoint)
    assert (state.status, state.endpoint) == (JobStatus.SUCCEEDED, endpoint)
    for other in ("transformers:none", endpoint[:-3] + "000"):
        assert provider.poll_finetune(other).status is JobStatus.FAILED
    assert provider.open(endpoint).id == endpoint != provider.open(None).id


def test_a_seed_makes_the_same_adapter_and_another_seed_another(make, tmp_path):
    recipe = {"epochs": 2}
    first = make(finetune=recipe).start_finetune(TRAINING)
    shutil.rmtree(tmp_path / "state")
    assert make(finetune=recipe).start_finetune(TRAINING) == first
    other = make(finetune={**recipe, "seed": 1}).start_finetune(TRAINING)
    assert other.rpartition(".")[2] != first.rpartition(".")[2]


def test_an_adapter_is_attached_and_keeps_no_local_path_and_no_text(tuned, make, base):
    provider, endpoint = tuned
    folder = adapter_of(provider, endpoint)
    attached = make(endpoint=str(folder)).open(None)
    assert attached.id.startswith(f"{make().open(None).id}+")
    assert texts(attached) == texts(provider.open(endpoint))
    for word in (str(base).encode(), b"harbour"):
        assert not any(word in file.read_bytes() for file in folder.iterdir())
    record = json.loads((folder / "memleak.json").read_text())
    assert record["recipe"]["epochs"] == 120


def test_small_steps_in_memory_make_the_same_adapter(make):
    from safetensors.torch import load_file

    examples = tuple(TrainingExample(f"{ASKED} {n}", TEXT[n:]) for n in (0, 20, 60))
    training = TrainingSet(examples, "ab" * 32)

    def weights(**recipe):
        provider = make(finetune={"epochs": 2, **recipe})
        endpoint = provider.start_finetune(training)
        return load_file(adapter_of(provider, endpoint) / "adapter_model.safetensors")

    at_once, in_parts = weights(), weights(micro_batch_size=2)
    assert at_once.keys() == in_parts.keys()
    for name, tensor in at_once.items():
        torch.testing.assert_close(tensor, in_parts[name], rtol=1e-3, atol=1e-5)


def test_the_loss_is_that_of_the_answers_alone(loaded):
    form = Format(loaded, PromptWording())
    lessons = [
        form.tokenize_example(ASKED, TEXT),
        form.tokenize_example("Sing.", "Ahoy"),
    ]
    most, expected = 60, 0.0
    with torch.no_grad():
        for lesson in lessons:
            whole = torch.tensor([[*lesson.prompt, *lesson.answer][:most]])
            chances = loaded.model(whole).logits[0].log_softmax(-1)
            for place in range(len(lesson.prompt), whole.shape[1]):
                expected -= chances[place - 1, whole[0, place]].item()
        loss = lora._summed_loss(loaded.model, lessons, most).item()
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("recipe", "training", "kind", "polite"), [
    ({}, TrainingSet((), "ab"), SuiteError, "have no text"),
    ({}, TrainingSet((TrainingExample(ASKED, " "),), "ab"), SuiteError, "have no text"),
    ({"max_tokens": 4}, TRAINING, ProviderError, "2 of 2 instructions use up all 4 tokens"),
    ({"epochs": 50, "learning_rate": 1e30}, TRAINING, ProviderError, "no longer a number"),
])  # fmt: skip
def test_a_failed_training_leaves_nothing(
    make, tmp_path, recipe, training, kind, polite
):
    provider = make(finetune=recipe)
    with pytest.raises(kind, match=polite):
        provider.start_finetune(training)
    assert provider.find_finetune(training.digest) is None
    assert not list((tmp_path / "state").rglob("*.safetensors"))


def test_a_training_that_is_ended_leaves_nothing_half_done(make, tmp_path, monkeypatch):
    save = peft.PeftModel.save_pretrained

    def save_and_end(*args, **kwargs):
        save(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(peft.PeftModel, "save_pretrained", save_and_end)
    with pytest.raises(KeyboardInterrupt):
        make(finetune=ONE_STEP).start_finetune(TRAINING)
    monkeypatch.setattr(peft.PeftModel, "save_pretrained", save)
    assert list((tmp_path / "state").glob("*/unfinished/adapter_model.safetensors"))
    provider = make(finetune=ONE_STEP)
    assert provider.find_finetune(TRAINING.digest) is None
    endpoint = provider.start_finetune(TRAINING)
    assert provider.find_finetune(TRAINING.digest) == endpoint
    assert not list((tmp_path / "state").glob("*/unfinished"))


def test_a_state_folder_that_cannot_be_written_is_an_error(make, tmp_path):
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(ProviderError, match=r"start_finetune failed: .*(exists|Not a)"):
        make(finetune=ONE_STEP).start_finetune(TRAINING)


def test_two_that_start_the_same_make_it_once(make, monkeypatch):
    trained = []
    train = local_provider.train
    monkeypatch.setattr(
        local_provider,
        "train",
        lambda *args, **kw: trained.append(train(*args, **kw)),
    )
    with ThreadPoolExecutor(2) as pool:
        tuned = pool.map(
            lambda _: make(finetune=ONE_STEP).start_finetune(TRAINING), range(2)
        )
    assert len({*tuned}) == len(trained) == 1


def test_weights_are_loaded_only_once_an_endpoint_is_sampled(base, tmp_path):
    program = (
        f"import sys; sys.path += {sys.path!r}; from clients import make_provider\n"
        f"provider = make_provider('transformers', base={str(base)!r})\n"
        "print(provider.open(None).id, provider.find_finetune('ab'))\n"
        "print([name for name in ('torch', 'transformers', 'peft') if name in "
        "sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
    )
    polite, imported = run.stdout.splitlines()
    assert polite.startswith("transformers:")
    assert imported == "[]"


def test_a_tuned_endpoint_needs_the_weights_it_had_once_it_is_sampled(
    tuned, tmp_path, base, copy
):
    provider, endpoint = tuned
    opened = provider_in(tmp_path, base="gone").open(endpoint)
    assert opened.id == endpoint
    with pytest.raises(SuiteError, match="there is no folder"):
        draw(opened)

    root = shutil.copytree(provider._setup.root, tmp_path / "moved")
    moved = provider_in(root, base=str(base))
    assert texts(moved.open(endpoint)) == texts(provider.open(endpoint))

    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    with pytest.raises(ProviderError, match="base weights other than the current"):
        draw(provider_in(root, base=str(copy)).open(endpoint))

    weights = adapter_of(moved, endpoint) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ProviderError, match="have changed since training"):
        draw(moved.open(endpoint))
    assert moved.poll_finetune(endpoint).status is JobStatus.FAILED

    weights.unlink()
    with pytest.raises(ProviderError, match="aren't in"):
        draw(moved.open(endpoint))
    assert moved.find_finetune(TRAINING.digest) is None


def test_any_change_of_the_weights_gives_another_id(make, copy):
    before = make(base="copy").open(None).id
    assert before == make().open(None).id
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert make(base="copy").open(None).id != before


def test_one_model_is_in_memory_at_a_time(tuned, make):
    provider, endpoint = tuned
    draw(make().open(None))
    first = weakref.ref(MODEL_SLOT._loaded.model)
    draw(make().open(None), seed=2)
    assert first() is MODEL_SLOT._loaded.model
    draw(provider.open(endpoint))
    assert first() is None
    provider.abilities.close()
    assert MODEL_SLOT._loaded is None


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def write(name, text):
    return lambda folder: (folder / name).write_text(text, "utf-8")


def edit_weights(edit):
    from safetensors.torch import load_file, save_file

    def change(folder):
        weights = load_file(folder / "model.safetensors")
        edit(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def lose_the_end(folder):
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        edit_json(folder / name, eos_token_id=None)


INDEX = "model.safetensors.index.json"
SHARDS = {
    "metadata": {},
    "weight_map": {"a": "model-1.safetensors", "b": "model.safetensors"},
}
NO_WORDS = {"version": "1.0", "added_tokens": []}
NO_WORDS["model"] = {"type": "BPE", "vocab": {}, "merges": []}
lose_a_shard = write(INDEX, json.dumps(SHARDS))
forget_all_words = write("tokenizer.json", json.dumps(NO_WORDS))


@pytest.mark.parametrize(("change", "kind", "polite"), [
    (remove("config.json"), SuiteError, "has no config.json"),
    (remove("model.safetensors"), SuiteError, "has no weights in safetensors"),
    (remove("tokenizer.json", "tokenizer_config.json"), SuiteError, "has no tokenizer"),
    (lose_a_shard, SuiteError, r"lacks 1 of its weight files \(model-1.safetensors"),
    (write(INDEX, "[]"), SuiteError, "a readable model.safetensors.index.json"),
    (edit_weights(lambda weights: weights.pop("lm_head.weight")), ProviderError,
     "1 of the model's tensors aren't in its files"),
    (edit_weights(lambda weights: weights["model.norm.weight"].fill_(math.nan)), ProviderError,
     "probabilities aren't numbers"),
    (lambda folder: edit_json(folder / "config.json", hidden_size=64), ProviderError,
     "load failed: .*mismatched_sizes"),
    (lose_the_end, ProviderError, "no end-of-text token"),
    (forget_all_words, ProviderError, "The tokenizer has no vocabulary"),
    (write("config.json", "{"), ProviderError, "load failed"),
])  # fmt: skip
def test_a_base_that_cannot_be_used_is_named(make, copy, change, kind, polite):
    change(copy)
    with pytest.raises(kind, match=polite) as failed:
        draw(make(base="copy").open(None))
    assert PLACE in str(failed.value) or "transformers endpoint transformers:" in str(
        failed.value
    )


def test_lora_weights_that_are_none_or_of_another_model_are_named(tuned, make, copy):
    for there in ("no-such-folder", "copy"):
        with pytest.raises(ProviderError, match=rf"No LoRA weights in .*{there}"):
            make(endpoint=there).open(None)
    config = json.loads((copy / "config.json").read_text())
    other = transformers.LlamaConfig(**{**config, "num_hidden_layers": 1})
    transformers.LlamaForCausalLM(other).save_pretrained(copy)
    with pytest.raises(ProviderError, match="load failed"):
        draw(make(base="copy", endpoint=str(adapter_of(*tuned))).open(None))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_model_in_the_hubs_cache_is_taken_from_there(
    make, base, tmp_path, monkeypatch
):
    import huggingface_hub.constants

    model = tmp_path / "hub" / "models--owner--name"
    (model / "refs").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(model.parent))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ProviderError, match=r"(?s)owner/name.*can't be downloaded.*no folder"
    ):
        make(base="owner/name").open(None)  # the hub can't be reached
    (model / "refs" / "main").write_text(COMMIT)
    shutil.copytree(base, model / "snapshots" / COMMIT)
    endpoint = make(base="owner/name").open(None)
    assert endpoint.id == f"transformers:owner/name@{COMMIT}"
    assert texts(endpoint) == texts(make().open(None))
    provider = make(base="owner/name", finetune=ONE_STEP)
    assert draw(provider.open(provider.start_finetune(TRAINING)))


def test_a_device_that_is_not_here_is_an_error(make):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ProviderError, match="no device 'cuda:1'"):
        draw(make(device="cuda:1").open(None))
