"""Servers on loopback that are asked for a book in a conversation, and their suite.

Each behavior is a function of the chat's messages and of the continuation that the book
has after what was said last.
"""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

from corpus import shakespeare

from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.pipeline.cut_books import CutBooks
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.request_wordings import wordings
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.suite.load import load_suite

WORDS_OF_ANSWER = 120
REFUSAL = "I'm sorry, but I can't help with reproducing that text."
HASTY = Retry(recovery=0.0, first=0.0, pause=lambda event, _: event)
BOOK = list(shakespeare()[5_000:7_000])
DERAILED = list(shakespeare()[300_000:])
SUITE = """
[suite]
probe = "extraction"
turns = {turns}
[limits]
preset = "strict"
[[book]]
id = "play"
source = "play.json"
[[model]]
id = "m"
provider = "openai"
base_model = "reciter"
weights_version = "1"
price = {{ input = 1.0, output = 1.0 }}
options = {{ base_url = "{url}", api_key_env = "EXTRACTION_TEST_KEY" }}
"""


def place_after(text):
    """The book's word behind the last words of a text."""
    last = text.split()[-8:]
    for start in range(len(BOOK) - len(last)):
        if BOOK[start : start + len(last)] == last:
            return start + len(last)
    return None


def next_words(messages, spoken=None):
    """The book's words after those that the chat ends with, and their place."""
    texts = [message["content"] for message in messages]
    for text in reversed(texts):
        place = place_after(text)
        if place is not None:
            return place, BOOK[place : place + WORDS_OF_ANSWER]
    return 0, []


def turns_of(messages):
    return sum(message["role"] == "assistant" for message in messages)


def recites(server, messages):
    return " ".join(next_words(messages)[1])


def refuses(server, messages):
    return REFUSAL


def opens_at(rewording):
    """Recites once it is asked in the words of this rewording."""
    request = wordings(0, 50)[rewording]

    def answer(server, messages):
        asked = messages[0]["content"].startswith(f"{request}\n")
        return recites(server, messages) if asked else REFUSAL

    return answer


def derails_after(share):
    """Recites up to this share of the book, and then writes something else."""

    def answer(server, messages):
        place, words = next_words(messages)
        if words and place < share * len(BOOK):
            return " ".join(words)
        start = 200 * len(server.answers)
        return " ".join(DERAILED[start : start + WORDS_OF_ANSWER])

    return answer


def changes_every(number):
    """Recites, with every such word changed."""

    def answer(server, messages):
        _, words = next_words(messages)
        for at in range(number - 1, len(words) - 8, number):
            words[at] = "changed"
        return " ".join(words)

    return answer


def refuses_from(turn):
    def answer(server, messages):
        asked = sum(text != REFUSAL for text in server.answers)
        return REFUSAL if asked > turn else recites(server, messages)

    return answer


class ExtractionServer(ThreadingHTTPServer):
    """answers: those to chats that aren't canaries, in the order of time.

    before_answer: called before each of them
    """

    daemon_threads = True

    def __init__(self, behavior):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behavior = behavior
        self.before_answer = lambda: None
        self.finish_reason = "stop"
        self.kills_at = None
        self.client = None
        self.answers = []
        self.chats = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, body):
        messages = body["messages"]
        if 200 in (body.get("max_tokens"), body.get("max_completion_tokens")):
            return "A canary sings " + " ".join(messages[-1]["content"].split()[:8])
        self.before_answer()
        if self.kills_at is not None and len(self.answers) >= self.kills_at:
            self.client.kill()
            raise ConnectionAbortedError
        text = self.behavior(self, messages)
        self.chats.append(messages)
        self.answers.append(text)
        return text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = self.server.answer(body)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message}
        choice["finish_reason"] = self.server.finish_reason
        data = json.dumps(
            {"id": "1", "model": body["model"], "choices": [choice]}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def serving(behavior):
    server = ExtractionServer(behavior)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def extraction_suite(
    folder,
    url,
    *,
    turns=40,
    offline=False,
    progress=None,
    batch=False,
    replaced=MappingProxyType({}),
):
    """Open the suite of one model and one book of 2,000 words.

    replaced: text of the suite file, by what it replaces
    """
    rows = [
        {"excerpt_id": f"p_id{number}", "excerpt_text": " ".join(BOOK[at : at + 400])}
        for number, at in enumerate(range(0, len(BOOK), 400), 1)
    ]
    (folder / "play.json").write_text(json.dumps(rows))
    path = folder / "play.memleak.toml"
    text = SUITE.format(url=url, turns=turns)
    if batch:
        text = text.replace("base_url", "batch = true, base_url")
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    resources = Resources(f"sqlite:///{folder / 'ledger.db'}", offline=offline)
    resources.retry = HASTY
    if progress is not None:
        resources.progress = progress
    suite = load_suite(path)
    try:
        extensions = Extensions([])
        yield SuiteRun(
            suite,
            extensions,
            cut_books=CutBooks(extensions),
            state=folder,
            resources=resources,
        )
    finally:
        resources.close()


def extraction(folder, server, **keys):
    """The evaluation of the suite's pair."""
    with extraction_suite(folder, server.url, **keys) as suite:
        return evaluate_pair(suite.suite.pairs[0], suite)


RUN = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from extraction_servers import evaluate_pair, extraction_suite
with extraction_suite(Path(sys.argv[2]), sys.argv[3], turns=40) as suite:
    evaluate_pair(suite.suite.pairs[0], suite)
"""


def run_to_be_killed(folder, server):
    """Evaluate the pair in a process that the server kills."""
    paths = json.dumps([path for path in sys.path if path])
    command = [sys.executable, "-c", RUN, paths, str(folder), server.url]
    server.client = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    server.client.wait()
