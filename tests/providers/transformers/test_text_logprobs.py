"""Log-probabilities of texts by the `transformers` provider, against transformers itself."""

import pytest
from clients import make_provider, prose
from tiny_weights import save_llama

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

TEXT = prose(5, 900) + " “Café”, said the naïve 山羊."


@pytest.fixture(scope="module", params=[None, "<begin>"])
def weights(request, tmp_path_factory):
    """A folder of random weights whose texts begin with that token."""
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("weights") / "base"
    tokenizer = ByteLevelBPETokenizer()
    settings = {"special_tokens": ["<unk>", "<end>", "<begin>"], "show_progress": False}
    tokenizer.train_from_iterator([TEXT], 400, 0, **settings)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", bos_token=request.param
    )
    wrapped.save_pretrained(folder)
    end = wrapped.eos_token_id
    return save_llama(
        folder,
        len(wrapped),
        (48, 96, 2, 4, 512),
        initializer_range=0.3,
        eos_token_id=end,
    )


@pytest.fixture
def endpoint(weights, tmp_path):
    options = {"threads": 1, "device": "cpu", "completions_per_call": 32}
    provider = make_provider(
        "transformers",
        base=str(weights),
        root=tmp_path,
        state=tmp_path / "state",
        **options,
    )
    return provider.open(None)


@pytest.fixture
def directly(weights):
    """The same by transformers itself, token by token: starts, and logarithms."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    model = transformers.AutoModelForCausalLM.from_pretrained(weights).eval()
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]

    def read(text):
        coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        tokens = torch.tensor([[*begin, *coded["input_ids"]]])
        with torch.no_grad():
            logits = model(tokens).logits[0]
        chances = torch.log_softmax(logits.double(), 1)[:-1]
        values = chances.gather(1, tokens[0, 1:, None])[:, 0].tolist()
        starts = [start for start, _ in coded["offset_mapping"]]
        return starts, values if begin else [None, *values]

    return read


@pytest.mark.parametrize("count", [3, pytest.param(200, marks=pytest.mark.full)])
def test_windows_equal_a_direct_computation_to_1e_4(directly, endpoint, count):
    # Of several lengths, so that rows are filled up.
    texts = [TEXT[11 * n : 11 * n + 120 + n % 90] for n in range(count)]
    read = endpoint.abilities.token_logprobs(texts)
    for text, logprobs in zip(texts, read, strict=True):
        starts, values = directly(text)
        assert list(logprobs.starts) == starts
        first = values[0] and pytest.approx(values[0], abs=1e-4)
        assert logprobs.logprobs[0] == first
        assert logprobs.logprobs[1:] == pytest.approx(values[1:], abs=1e-4)


def test_a_text_has_the_same_numbers_alone_and_beside_longer_ones(endpoint):
    read = endpoint.abilities.token_logprobs
    alone, beside = read([TEXT[:100]])[0], read([TEXT[:900], TEXT[:100]])[1]
    assert beside.starts == alone.starts
    assert beside.logprobs[1:] == pytest.approx(alone.logprobs[1:], abs=1e-5)


def test_tokens_begin_where_the_tokenizer_says_also_within_characters(endpoint):
    text = "“Café”, said the naïve 山羊."
    (read,) = endpoint.abilities.token_logprobs([text])
    assert [*read.starts] == sorted(read.starts)
    assert read.starts[0] == 0
    assert read.starts[-1] == len(text) - 1
