"""probe = "probability": p_z of every window, against a direct computation with the same model."""

import json
import math
import shutil
from functools import partial

import pytest
from faults import Fault, FaultKind, FaultPlan, server_error
from http_server import Books
from ledger_file import ledger_file
from openai_answers import cut
from openai_server import OpenAIServer
from reciter import GIVEN_ORDER, Reciter
from suite_files import evidence, write_suite
from tinker_server import TinkerServer
from tinker_words import Words, save_tokenizer

from pytest_memleak.providers.ngram.ngram_model import NgramModel
from pytest_memleak.providers.ngram.ngram_writer import PARAGRAPH, tokenise

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PREFIX, SUFFIX, STRIDE, N, P = 20, 10, 37, 200, 0.25
CANARIES = 5
RECOMPUTED = "pairs recomputed from suite, books, and ledger: 1 of 1"
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
def write(stories):
    """Writes the suite of one model, with some text replaced, and its book."""
    return lambda model, *replacements: write_suite(stories, SUITE + model, *replacements)


@pytest.fixture
def texts(stories):
    """The texts of which the book's tokens are those of one after the other."""
    *others, last = [record["excerpt_text"] for record in stories["held-out"]]
    return [*(text + PARAGRAPH for text in others), last]


def log_p_z(pair, name="ln_p_z"):
    """ln p_z of every window."""
    return [-math.inf if value == "zero" else value for value in pair["windows"][name]]


def windows(tokens):
    return [
        (tokens[at : at + PREFIX], tokens[at + PREFIX : at + PREFIX + SUFFIX])
        for at in range(0, len(tokens) - PREFIX - SUFFIX + 1, STRIDE)
    ]


def agrees(pair, expected, plain, rel=1e-9):
    """expected: under the scheme, None where it is not known; plain: of the plain product."""
    count, measures = len(plain), pair["measures"]
    assert log_p_z(pair, "ln_p_z_plain") == pytest.approx(plain, rel=rel)
    assert measures["extractable_plain"]["value"] == share(plain)
    if expected is None:
        assert pair["windows"]["p_z"] == "plain product"
        assert "extractable" not in measures
        expected = plain
    else:
        assert measures["extractable"]["value"] == share(expected)
    assert log_p_z(pair) == pytest.approx(expected, rel=rel)
    likely = [at for at, x in enumerate(expected) if 1 - (1 - math.exp(x)) ** N >= P]
    assert pair["windows"]["discoverable_windows"] == likely
    assert pair["windows"]["discoverable"] == len(likely) / count
    assert pair["completeness"]["requested"] == pair["completeness"]["received"] == count


def share(log_p):
    return sum(math.exp(x) >= 0.001 for x in log_p) / len(log_p)


def top_k_by_hand(model, tokens, at, k, temperature=1.0):
    """The probability of tokens[at] among the k likeliest after those before it."""
    powers = model.probabilities(tokens[:at]) ** (1 / temperature)
    every = dict(zip(model.vocabulary, powers, strict=True))
    kept = sorted(every.values(), reverse=True)[: k or None]
    own = every[tokens[at]]
    return own / sum(kept) if own >= kept[-1] else 0.0


def by_hand(model, tokens, k, temperature=1.0):
    """Per window the logarithm of the product of its suffix tokens' probabilities."""
    logarithms = []
    for prefix, suffix in windows(tokens):
        whole = [*prefix, *suffix]
        places = range(PREFIX, PREFIX + SUFFIX)
        p_z = math.prod(top_k_by_hand(model, whole, at, k, temperature) for at in places)
        logarithms.append(math.log(p_z) if p_z else -math.inf)
    return logarithms


@pytest.mark.parametrize(
    ("order", "top_k", "temperature", "outcome"),
    [(9, 40, 1.0, "failed"), (2, 40, 1.0, "passed"), (3, 0, 0.5, "failed")],
    ids=["recites", "babbles", "all tokens at another temperature"],
)
def test_a_model_that_recites_fails_and_one_that_babbles_passes(
    pytester, write, texts, stories, order, top_k, temperature, outcome
):
    scheme = schemed(f"top_k = {top_k}\ntemperature = {temperature}")
    write(NGRAM, ("ORDER", str(order)), scheme)
    result, pair = evidence(pytester, "--memleak-html=report.html", **{outcome: 1})
    learnt = PARAGRAPH.join(record["excerpt_text"] for record in stories["held-out"])
    model = NgramModel([tokenise(learnt)], order=order)
    tokens = [token for text in texts for token in tokenise(text)]
    agrees(pair, by_hand(model, tokens, top_k, temperature), by_hand(model, tokens, 0))
    how = f"top-k {top_k}, temperature {temperature:g}"
    assert pair["windows"]["p_z"] == how
    assert pair["windows"]["tokens"] == len(tokens)
    page = (pytester.path / "report.html").read_text(encoding="utf-8")
    result.stdout.re_match_lines([r"pair +extractable +extractable_plain +received +verdict"])
    assert "not measured" not in page
    for shown in ("How probable each book&#39;s words are", "Windows along the book", how):
        assert shown in page
    # Numbers only: nothing of the book's text.
    written = page + json.dumps(pair)
    assert not any(" ".join(text.split()[:6]) in written for text in texts)


def test_nothing_is_asked_twice(pytester, write, gate, verify):
    write(NGRAM, ("ORDER", "2"))
    assert gate("--memleak-dry-run", lines=["model/held-out * 0 *"]).ret == 0
    _, first = evidence(pytester)
    _, again = evidence(pytester, "--memleak-offline", passed=1)
    first["provenance"] |= {"calls_this_run": 0, "offline": True}
    assert again == first
    assert verify()[0] == 0
    gate("--memleak-dry-run", lines=["model/held-out*0*0*0*"])
    # Another scheme is asked anew; other tries of what is known already cost nothing.
    write(NGRAM, ("ORDER", "2"), schemed("top_k = 39"))
    _, pair = evidence(pytester, "--memleak-offline", errors=1)
    assert pair["completeness"]["received"] == 0
    write(NGRAM, ("ORDER", "2"), (f"n = {N}", f"n = {N + 1}"))
    evidence(pytester, "--memleak-offline", passed=1)
    # A missing window is inconclusive.
    write(NGRAM, ("ORDER", "2"))
    with ledger_file(pytester.path) as ledger:
        ledger.execute("delete from generations where question = (select max(id) from questions)")
    _, pair = evidence(pytester, "--memleak-offline", errors=1)
    assert pair["verdict"] == "INCONCLUSIVE"
    assert pair["reasons"][0].endswith("windows aren't in the ledger")
    assert None in pair["windows"]["ln_p_z"]


BIGRAMS = NGRAM.replace("ORDER", "2")
# The model, what is replaced in the suite, and the reason.
UNMEASURED = {
    "a book shorter than a window": (
        *(BIGRAMS, [(f"prefix_tokens = {PREFIX}", "prefix_tokens = 100000")]),
        "tokens, fewer than a window of 100000 + 10",
    ),
    "a limit of another probe": (
        *(BIGRAMS, [("extractable = 0.1", "extractable = 0.1\nlongest_span = 10")]),
        'longest_span has a limit, but couldn\'t be measured: the probe "probability" has no',
    ),
    "recorded": (
        'provider = "recorded"\n[model.options]\npath = "held-out.json"\n',
        *([], "'recorded' of model returns no log-probabilities"),
    ),
    "vertex": (
        'provider = "vertex"\nbase_model = "base"\n',
        *([], "'vertex' of model returns no log-probabilities"),
    ),
}


@pytest.mark.parametrize("case", UNMEASURED)
def test_what_cannot_be_measured_is_inconclusive(pytester, write, monkeypatch, case):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    model, replaced, reason = UNMEASURED[case]
    write(model, *replaced)
    _, pair = evidence(pytester, errors=1)
    assert reason in pair["reasons"][0]


def test_memorization_needs_another_probe(write, own_tests, gate):
    write(NGRAM, ("ORDER", "2"))
    own_tests(
        """
        def test_mine(memorization):
            assert 0 <= memorization.extractable_plain <= 1
            memorization.longest_passage
        def test_windows(memleak_evaluation):
            assert memleak_evaluation.extraction.extractable < 0.1
        """,
        suite="it.memleak.toml",
    )
    line = '*longest_passage couldn\'t be measured: the probe "probability" has no generations*'
    gate("test_own.py", lines=[line], passed=1, failed=1)


@pytest.fixture
def served(pytester, stories, monkeypatch):
    """An OpenAI server with completions, its faults and settings given."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghij")
    servers = []

    def start(*faults, **settings):
        corpus = [record["excerpt_text"] for record in stories["held-out"]]
        books, plan = Books(pytester.path / "server.jsonl"), FaultPlan(faults)
        servers.append(OpenAIServer(reciter=Reciter(corpus), books=books, plan=plan, **settings))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def openai(server, release='weights_version = "1"'):
    return f"""
provider = "openai"
base_model = "base"
{release}
price = {{ input = 1.0, output = 2.0 }}
[model.options]
base_url = "{server.base_url}"
"""


def spaced(stride):
    return f"stride = {STRIDE}", f"stride = {stride}"


def schemed(keys):
    return f"n = {N}", f"n = {N}\n{keys}"


def test_completions_echo_the_log_probabilities_of_the_model(
    pytester, write, served, texts, stories
):
    server = served()
    write(openai(server), PLAIN)
    _, pair = evidence(pytester, failed=1)
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
    agrees(pair, None, expected)
    # Each text was asked for once, and is not again.
    asked = [row["text"] for row in server.books.rows("echo")]
    assert len(asked) == len(texts) + len(expected)
    # Nor are those windows that another stride shares with this one.
    for stride in (STRIDE, 2 * STRIDE):
        write(openai(server), PLAIN, spaced(stride))
        _, pair = evidence(pytester)
        assert len(server.books.rows("echo")) == len(asked)
        assert log_p_z(pair) == pytest.approx(expected[:: stride // STRIDE])


def test_who_told_them_and_whether_it_is_still_the_same(pytester, write, served, stories, verify):
    server = served()
    write(openai(server, ""), PLAIN)
    _, pair = evidence(pytester)
    windows, who = pair["completeness"]["received"], pair["provenance"]
    assert (who["requested"], who["weights"], who["imported"]) == ("base", "a name", 0)
    assert [served["model"] for served in who["served"]] == ["base"]
    assert (who["calls"], who["calls_this_run"], who["tried"]["number"]) == (windows, windows, 1)
    [draws] = pair["sampled"]
    assert (draws["purpose"], draws["requested"], draws["received"]) == ("own", windows, windows)
    assert pair["completeness"]["issues"] == []
    assert RECOMPUTED in verify()[1]
    calls = server.plan.calls("echo")
    # Five windows are asked for again, whatever the stride is, and none of the pair's.
    for further, stride in enumerate((STRIDE, 2 * STRIDE), 1):
        write(openai(server, ""), PLAIN, spaced(stride))
        _, again = evidence(pytester)
        assert server.plan.calls("echo") == calls + further * CANARIES
        assert (again["provenance"]["calls_this_run"], again["completeness"]["issues"]) == (0, [])
        left = windows - again["completeness"]["received"]
        assert again["provenance"]["tried"]["further"] in {0, left}
        assert RECOMPUTED in verify()[1]
    _, again = evidence(pytester, "--memleak-offline")
    assert [issue["rule"] for issue in again["completeness"]["issues"]] == ["canaries"]
    server.replace([record["excerpt_text"] for record in stories["training"]])
    _, again = evidence(pytester)
    [issue] = again["completeness"]["issues"]
    assert "no longer answers the canaries" in issue["cause"]


@pytest.mark.parametrize(("top_k", "temperature"), [(20, 1.0), (5, 2.0), (3, 0.5)])
def test_a_server_that_tells_the_likeliest_tokens(
    pytester, write, served, texts, given, verify, top_k, temperature
):
    """As vLLM does with prompt_logprobs, up to its --max-logprobs."""
    server = served(token_ids=True, most_told=20)
    write(openai(server), schemed(f"top_k = {top_k}\ntemperature = {temperature}"))
    _, pair = evidence(pytester)
    expected = given(top_k, temperature)
    agrees(pair, expected, given(0))
    assert pair["windows"]["p_z"] == f"top-k {top_k}, temperature {temperature:g}"
    asked = server.plan.calls("echo")
    assert asked == len(texts) + len(expected) + 2  # what begins a text
    _, again = evidence(pytester, "--memleak-offline")
    pair["provenance"] |= {"calls_this_run": 0, "offline": True}
    assert again == pair
    evidence(pytester)
    assert server.plan.calls("echo") == asked
    assert RECOMPUTED in verify()[1]


@pytest.mark.parametrize("top_k", [7, 8])
def test_a_server_that_tells_of_what_it_writes_alone(pytester, write, served, given, top_k):
    """As llama.cpp's does: of the seven likeliest tokens, at most."""
    server = served(writes=True, most_told=7)
    write(openai(server), schemed(f"top_k = {top_k}"), spaced(STRIDE * 3))
    _, pair = evidence(pytester)
    agrees(pair, given(top_k)[::3] if top_k == 7 else None, given(0)[::3])


def test_windows_begin_with_the_token_that_begins_a_text_in_a_later_run_too(
    pytester, write, served
):
    """Where the texts' tokens are in the ledger, what begins them is asked for again."""
    server = served(token_ids=True)
    write(openai(server), PLAIN)
    evidence(pytester)
    server.recent.clear()
    write(openai(server), PLAIN, (f"suffix_tokens = {SUFFIX}", f"suffix_tokens = {SUFFIX - 1}"))
    evidence(pytester)
    asked = [request.json()["prompt"] for name, request in server.recent if name == "echo"]
    assert {prompt[0] for prompt in asked if isinstance(prompt, list)} == {0}


def test_one_that_tells_fewer_tells_the_plain_product(
    pytester, write, served, texts, given, verify
):
    server = served(token_ids=True, most_told=20)
    write(openai(server), schemed("top_k = 21"))
    _, pair = evidence(pytester, errors=1)
    assert pair["reasons"] == [
        "extractable has a limit, but couldn't be measured: the model returns fewer than"
        " probability.top_k of the likeliest tokens, so top-k can't be applied: set a limit on"
        " extractable_plain, or a smaller top_k"
    ]
    plain = given(0)
    agrees(pair, None, plain)
    asked = server.plan.calls("echo")
    assert asked == len(texts) + len(plain) + 2 + 1  # which was refused
    assert RECOMPUTED in verify()[1]
    # A server that was started anew with more is asked for it; a limit on the plain one needs none.
    write(openai(server), PLAIN, schemed("top_k = 21"))
    _, pair = evidence(pytester)
    agrees(pair, None, plain)
    assert server.plan.calls("echo") == asked
    write(openai(server), schemed("top_k = 21"))
    server.tells(21)
    _, pair = evidence(pytester)
    agrees(pair, given(21), plain)


def test_all_tokens_at_temperature_1_are_the_plain_product(pytester, write, served):
    """So that a server which tells no more can be held to either."""
    write(openai(served()), schemed("top_k = 0"))
    _, pair = evidence(pytester)
    plain = log_p_z(pair, "ln_p_z_plain")
    agrees(pair, plain, plain)
    assert pair["windows"]["p_z"] == "top-k 0, temperature 1"


@pytest.fixture
def given(stories, texts):
    """ln p_z by the model behind the server's completions, computed by hand."""
    corpus = [cut(record["excerpt_text"]) for record in stories["held-out"]]
    model = NgramModel(corpus, order=GIVEN_ORDER)
    return partial(by_hand, model, [token for text in texts for token in cut(text)])


@pytest.mark.parametrize("elsewhere", [(), (server_error("tokenize"),)])
def test_a_server_without_them_is_inconclusive(pytester, write, served, elsewhere):
    write(openai(served(Fault(FaultKind.EMPTY, "echo"), *elsewhere)), PLAIN)
    _, pair = evidence(pytester, errors=1)
    assert "The response doesn't echo the prompt's tokens" in pair["reasons"][0]
    assert "completions endpoint accepts echo and logprobs" in pair["reasons"][0]


def test_a_budget_stops_the_calls_for_windows(pytester, write, served):
    server = served()
    # A limit that what is known by then cannot break.
    write(openai(server), ("extractable = 0.1", "extractable_plain = 0.99"))
    _, pair = evidence(pytester, "--memleak-budget=0.002", errors=1)
    assert "budget" in pair["reasons"][0]
    spent = sum(row["tokens"] for row in server.books.rows("echo")) / 1e6
    assert 0 < spent <= 0.002


@pytest.mark.full
@pytest.mark.parametrize("most", [40, 39])
def test_tinker_returns_the_log_probabilities_of_the_model(
    pytester, write, stories, texts, monkeypatch, most
):
    monkeypatch.setenv("TINKER_API_KEY", "tml-Vq3x9LmT0aZr7Bn2Kd5W")
    corpus = [record["excerpt_text"] for record in stories["held-out"]]
    folder = save_tokenizer(pytester.path / "tokenizer", corpus)
    books = Books(pytester.path / "books.jsonl")
    with TinkerServer(
        reciter=Reciter(corpus), books=books, tokenizer=folder, most_told=most
    ) as server:
        write(
            'provider = "tinker"\nbase_model = "base"\n[model.options]\n'
            f'base_url = "{server.url}"\ntokenizer = "tokenizer"\n',
            PLAIN,
        )
        _, pair = evidence(pytester, run="runpytest_subprocess", failed=1)
    words = Words(folder)
    model = NgramModel([words.cut(text) for text in corpus], order=GIVEN_ORDER)
    tokens = [token for text in texts for token in words.cut(text)]
    expected = [
        float(model.log_probabilities([], [*prefix, *suffix])[PREFIX:].sum())
        for prefix, suffix in windows(tokens)
    ]
    # The server tells single precision.
    agrees(pair, by_hand(model, tokens, 40) if most == 40 else None, expected, rel=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("top_k", [0, 40, 500])
def test_local_weights_have_the_log_probabilities_of_the_model(
    pytester, write, local_base, texts, top_k
):
    import torch
    import transformers

    shutil.copytree(local_base, pytester.path / "base")
    write(
        'provider = "transformers"\nbase_model = "base"\n[model.options]\nthreads = 1\n',
        schemed(f"top_k = {top_k}"),
    )
    _, pair = evidence(pytester, run="runpytest_subprocess", passed=1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(local_base)
    model = transformers.AutoModelForCausalLM.from_pretrained(local_base)
    tokens = [
        token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    expected, plain = [], []
    for prefix, suffix in windows(tokens):
        total, own = 0.0, 0.0
        for at in range(SUFFIX):
            with torch.no_grad():
                logits = model(torch.tensor([[*prefix, *suffix[:at]]])).logits[0, -1].double()
            own += float(torch.log_softmax(logits, dim=-1)[suffix[at]])
            best = torch.topk(logits, top_k or len(logits))
            chosen = (best.indices == suffix[at]).nonzero().flatten()
            log = torch.log_softmax(best.values, dim=-1)
            total += float(log[chosen[0]]) if len(chosen) else -math.inf
        expected.append(total)
        plain.append(own)
    agrees(pair, expected, plain, rel=1e-4)
    [served] = pair["provenance"]["served"]
    assert served["fingerprint"].startswith("sha256:")
    known = sum(value > -math.inf for value in expected)
    assert {0: known == len(expected), 40: known < len(expected), 500: known > 0}[top_k]
