"""probe = "probability": p_z of every window, against a direct computation with the same model."""

import json
import math
import shutil

import pytest
from faults import Fault, FaultKind, FaultPlan
from http_server import Books
from ledger_file import ledger_file
from one_model import evidence, write_suite
from openai_answers import cut
from openai_server import OpenAIServer
from reciter import GIVEN_ORDER, Reciter
from tinker_server import TinkerServer
from tinker_words import Words, save_tokenizer

from pytest_memleak.cli.main import main
from pytest_memleak.providers.ngram.ngram_model import NgramModel
from pytest_memleak.providers.ngram.ngram_text import PARAGRAPH, tokenise

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PREFIX, SUFFIX, STRIDE, N, P = 20, 10, 37, 200, 0.25
SUITE = f"""
[suite]
probe = "probability"

[suite.probability]
prefix_tokens = {PREFIX}
suffix_tokens = {SUFFIX}
stride = {STRIDE}
n = {N}
p = {P}

[limits]
extractable = 0.1

[[book]]
id = "held-out"
source = "held-out.json"

[[model]]
id = "model"
"""
NGRAM = """
provider = "ngram"
[model.options]
order = ORDER
pretraining = ["held-out"]
"""
PLAIN = ("extractable = 0.1", "extractable_plain = 0.1")


@pytest.fixture
def write(pytester, stories):
    """Writes the suite of one model, with some text replaced, and its book."""
    return lambda model, *replacements: write_suite(pytester, stories, SUITE + model, *replacements)


@pytest.fixture
def texts(stories):
    """The texts of which the book's tokens are those of one after the other."""
    found = [record["excerpt_text"] for record in stories["held-out"]]
    return [*(text + PARAGRAPH for text in found[:-1]), found[-1]]


def told(pair):
    """ln p_z of every window."""
    return [-math.inf if one == "zero" else one for one in pair["windows"]["ln_p_z"]]


def windows(tokens):
    return [
        (tokens[at : at + PREFIX], tokens[at + PREFIX : at + PREFIX + SUFFIX])
        for at in range(0, len(tokens) - PREFIX - SUFFIX + 1, STRIDE)
    ]


def agrees(pair, expected, name="extractable", rel=1e-9):
    assert told(pair) == pytest.approx(expected, rel=rel)
    count = len(expected)
    assert pair["measures"][name]["value"] == sum(math.exp(x) >= 0.001 for x in expected) / count
    likely = [at for at, x in enumerate(expected) if 1 - (1 - math.exp(x)) ** N >= P]
    assert pair["windows"]["discoverable_windows"] == likely
    assert pair["windows"]["discoverable"] == len(likely) / count
    assert pair["counts"]["asked"] == pair["counts"]["got"] == count


# --- ngram ---------------------------------------------------------------------------------


def top_k_by_hand(model, tokens, at, k):
    """The probability of tokens[at] among the k likeliest after those before it."""
    every = dict(zip(model.vocabulary, model.probabilities(tokens[:at]), strict=True))
    kept = sorted(every.values(), reverse=True)[:k]
    own = every[tokens[at]]
    return own / sum(kept) if own >= kept[-1] else 0.0


@pytest.mark.parametrize(("order", "outcome"), [(9, "failed"), (2, "passed")])
def test_a_model_that_recites_fails_and_one_that_babbles_passes(
    pytester, write, texts, stories, order, outcome
):
    write(NGRAM, ("ORDER", str(order)))
    result, pair = evidence(pytester, "--memleak-html=report.html")
    result.assert_outcomes(**{outcome: 1})
    learnt = PARAGRAPH.join(record["excerpt_text"] for record in stories["held-out"])
    model = NgramModel([tokenise(learnt)], order=order)
    tokens = [token for text in texts for token in tokenise(text)]
    expected = []
    for prefix, suffix in windows(tokens):
        shares = [top_k_by_hand(model, [*prefix, *suffix], PREFIX + at, 40) for at in range(SUFFIX)]
        p_z = math.prod(shares)
        expected.append(math.log(p_z) if p_z else -math.inf)
    agrees(pair, expected)
    assert pair["windows"]["p_z"] == "top-k 40, temperature 1"
    assert pair["windows"]["tokens"] == len(tokens)
    page = (pytester.path / "report.html").read_text(encoding="utf-8")
    result.stdout.re_match_lines([r"pair +extractable +drawn +verdict"])
    assert "How probable the words of each book are" in page
    assert "not measured" not in page
    assert "Windows along the book" in page
    assert "top-k 40, temperature 1" in page
    # Numbers only: nothing of the book's text.
    said = page + json.dumps(pair)
    assert not any(" ".join(text.split()[:6]) in said for text in texts)


def test_all_tokens_at_another_temperature(pytester, write, texts, stories):
    write(NGRAM, ("ORDER", "3"), (f"n = {N}", f"n = {N}\ntop_k = 0\ntemperature = 0.5"))
    _, pair = evidence(pytester)
    learnt = PARAGRAPH.join(record["excerpt_text"] for record in stories["held-out"])
    model = NgramModel([tokenise(learnt)], order=3)
    tokens = [token for text in texts for token in tokenise(text)]
    places = {token: at for at, token in enumerate(model.vocabulary)}
    expected = []
    for prefix, suffix in windows(tokens)[:8]:
        whole, total = [*prefix, *suffix], 0.0
        for at in range(PREFIX, PREFIX + SUFFIX):
            powers = model.probabilities(whole[:at]) ** 2
            total += math.log(powers[places[whole[at]]] / powers.sum())
        expected.append(total)
    assert told(pair)[:8] == pytest.approx(expected, rel=1e-9)


def test_nothing_is_asked_twice(pytester, write):
    write(NGRAM, ("ORDER", "2"))
    _, first = evidence(pytester)
    result, again = evidence(pytester, "--memleak-offline")
    result.assert_outcomes(passed=1)
    assert again == first
    assert main(["verify", "evidence.json"]) == 0
    result = pytester.runpytest("--memleak-plan")
    result.stdout.fnmatch_lines(["model/held-out*0*0*0*"])


def test_another_scheme_is_asked_anew(pytester, write):
    write(NGRAM, ("ORDER", "2"))
    evidence(pytester)
    write(NGRAM, ("ORDER", "2"), (f"n = {N}", f"n = {N}\ntop_k = 39"))
    result, pair = evidence(pytester, "--memleak-offline")
    result.assert_outcomes(errors=1)
    assert pair["counts"]["got"] == 0
    # Other tries of what is known already cost nothing.
    write(NGRAM, ("ORDER", "2"), (f"n = {N}", f"n = {N + 1}"))
    result, pair = evidence(pytester, "--memleak-offline")
    result.assert_outcomes(passed=1)


def test_a_missing_window_is_inconclusive(pytester, write):
    write(NGRAM, ("ORDER", "2"))
    evidence(pytester)
    with ledger_file(pytester.path) as ledger:
        ledger.execute("delete from generations where question = (select max(id) from questions)")
    result, pair = evidence(pytester, "--memleak-offline")
    result.assert_outcomes(errors=1)
    assert pair["verdict"] == "INCONCLUSIVE"
    (said, *_) = pair["reasons"]
    assert said.endswith("windows are not in the ledger")
    assert None in pair["windows"]["ln_p_z"]


def test_a_plan_before_anything_is_known(pytester, write):
    write(NGRAM, ("ORDER", "2"))
    result = pytester.runpytest("--memleak-plan")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["model/held-out * 0 *"])


def test_a_book_shorter_than_a_window(pytester, write):
    write(NGRAM, ("ORDER", "2"), (f"prefix_tokens = {PREFIX}", "prefix_tokens = 100000"))
    result, pair = evidence(pytester)
    result.assert_outcomes(errors=1)
    assert "tokens, fewer than a window of 100000 + 10" in pair["reasons"][0]


def test_limits_of_other_probes_cannot_pass(pytester, write):
    write(NGRAM, ("ORDER", "2"), ("extractable = 0.1", "extractable = 0.1\nlongest_span = 10"))
    result, pair = evidence(pytester)
    result.assert_outcomes(errors=1)
    assert pair["reasons"] == [
        'longest_span has a limit, but could not be measured: the probe "probability" has no '
        "generations"
    ]


def test_what_is_recorded_tells_nothing(pytester, write):
    write('provider = "recorded"\n[model.options]\npath = "held-out.json"\n')
    result, pair = evidence(pytester)
    result.assert_outcomes(errors=1)
    assert "'recorded' of model tells no log-probabilities" in pair["reasons"][0]


def test_memorization_needs_another_probe(pytester, write):
    write(NGRAM, ("ORDER", "2"))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright(suite="it.memleak.toml")
        def test_mine(memorization):
            pass

        @pytest.mark.copyright(suite="it.memleak.toml")
        def test_windows(evaluation):
            assert evaluation.extraction.extractable < 0.1
        """
    )
    result = pytester.runpytest("test_memorization_needs_another_probe.py")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*the probe "probability" makes no Measurement*'])


# --- servers and local weights -------------------------------------------------------------


@pytest.fixture
def served(pytester, stories, monkeypatch):
    """An OpenAI server with completions, its faults given."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghij")
    servers = []

    def start(*faults):
        corpus = [record["excerpt_text"] for record in stories["held-out"]]
        books = Books(pytester.path / "server.jsonl")
        servers.append(OpenAIServer(reciter=Reciter(corpus), books=books, plan=FaultPlan(faults)))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def openai(server):
    return f"""
provider = "openai"
base = "base"
price = {{ input = 1.0, output = 2.0 }}
[model.options]
base_url = "{server.base_url}"
"""


def test_completions_with_echo(pytester, write, served, texts, stories):
    server = served()
    write(openai(server), PLAIN)
    result, pair = evidence(pytester)
    result.assert_outcomes(failed=1)
    model = NgramModel(
        [cut(record["excerpt_text"]) for record in stories["held-out"]], order=GIVEN_ORDER
    )
    tokens = [token for text in texts for token in cut(text)]
    expected = []
    for prefix, suffix in windows(tokens):
        text = cut("".join([*prefix, *suffix]))
        # A window begins a text of its own, whose first blank joins no other token.
        values = model.log_probabilities([], text)
        start, end = 0, len("".join(prefix))
        own = []
        for token, value in zip(text, values, strict=True):
            start += len(token)
            if start > end:
                own.append(max(float(value), -9999.0))
        expected.append(math.fsum(own))
    agrees(pair, expected, "extractable_plain")
    assert pair["windows"]["p_z"] == "plain product"
    # Each text was asked for once, and is not again.
    asked = [row["text"] for row in server.books.rows("echo")]
    assert len(asked) == len(texts) + len(expected)
    # Nor are those windows that another stride shares with this one.
    for stride in (STRIDE, 2 * STRIDE):
        write(openai(server), PLAIN, (f"stride = {STRIDE}", f"stride = {stride}"))
        _, pair = evidence(pytester)
        assert len(server.books.rows("echo")) == len(asked)
        assert told(pair) == pytest.approx(expected[:: stride // STRIDE])


def test_a_plain_product_is_not_held_against_the_other_limit(pytester, write, served):
    write(openai(served()))
    result, pair = evidence(pytester)
    result.assert_outcomes(errors=1)
    assert "top-k cannot be applied: set a limit on extractable_plain" in pair["reasons"][0]


def test_a_server_without_them_is_inconclusive(pytester, write, served):
    write(openai(served(Fault(FaultKind.EMPTY, "echo"))), PLAIN)
    result, pair = evidence(pytester)
    result.assert_outcomes(errors=1)
    assert "the answer does not echo the prompt's tokens" in pair["reasons"][0]
    assert "completions take echo and logprobs" in pair["reasons"][0]


def test_a_budget_stops_it(pytester, write, served):
    server = served()
    # A limit that what is known by then cannot break.
    write(openai(server), ("extractable = 0.1", "extractable_plain = 0.99"))
    result, pair = evidence(pytester, "--memleak-budget=0.002")
    result.assert_outcomes(errors=1)
    assert "budget" in pair["reasons"][0]
    spent = sum(row["tokens"] for row in server.books.rows("echo")) / 1e6
    assert 0 < spent <= 0.002


def test_tinker(pytester, write, stories, texts, monkeypatch):
    monkeypatch.setenv("TINKER_API_KEY", "tml-Vq3x9LmT0aZr7Bn2Kd5W")
    corpus = [record["excerpt_text"] for record in stories["held-out"]]
    folder = save_tokenizer(pytester.path / "tokenizer", corpus)
    books = Books(pytester.path / "books.jsonl")
    with TinkerServer(reciter=Reciter(corpus), books=books, tokenizer=folder) as server:
        write(
            'provider = "tinker"\nbase = "base"\n[model.options]\n'
            f'base_url = "{server.url}"\ntokenizer = "tokenizer"\n',
            PLAIN,
        )
        result, pair = evidence(pytester, run="runpytest_subprocess")
    result.assert_outcomes(failed=1)
    words = Words(folder)
    model = NgramModel([words.cut(text) for text in corpus], order=GIVEN_ORDER)
    tokens = [token for text in texts for token in words.cut(text)]
    expected = [
        float(model.log_probabilities([], [*prefix, *suffix])[PREFIX:].sum())
        for prefix, suffix in windows(tokens)
    ]
    # The server tells single precision.
    agrees(pair, expected, "extractable_plain", rel=1e-5)


def test_vertex_tells_nothing(pytester, write, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    write('provider = "vertex"\nbase = "base"\n')
    result, pair = evidence(pytester, run="runpytest_subprocess")
    result.assert_outcomes(errors=1)
    assert "'vertex' of model tells no log-probabilities" in pair["reasons"][0]


@pytest.mark.parametrize("top_k", [0, 40, 500])
def test_local_weights(pytester, write, local_base, texts, top_k):
    import torch
    import transformers

    shutil.copytree(local_base, pytester.path / "base")
    write(
        'provider = "transformers"\nbase = "base"\n[model.options]\nthreads = 1\n',
        (f"n = {N}", f"n = {N}\ntop_k = {top_k}"),
    )
    result, pair = evidence(pytester, run="runpytest_subprocess")
    result.assert_outcomes(passed=1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(local_base)
    model = transformers.AutoModelForCausalLM.from_pretrained(local_base)
    tokens = [
        token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    expected = []
    for prefix, suffix in windows(tokens):
        total = 0.0
        for at in range(SUFFIX):
            with torch.no_grad():
                logits = model(torch.tensor([[*prefix, *suffix[:at]]])).logits[0, -1].double()
            best = torch.topk(logits, top_k or len(logits))
            chosen = (best.indices == suffix[at]).nonzero().flatten()
            if not len(chosen):
                total = -math.inf
                break
            total += float(torch.log_softmax(best.values, dim=-1)[chosen[0]])
        expected.append(total)
    agrees(pair, expected, rel=1e-4)
    known = sum(value > -math.inf for value in expected)
    assert {0: known == len(expected), 40: known < len(expected), 500: known > 0}[top_k]
