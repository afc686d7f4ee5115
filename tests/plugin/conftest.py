"""A small suite for the plugin's tests: one book, one clean model, one that recites."""

from pathlib import Path
from textwrap import dedent

import pytest
from ferry import BOOK, CLEAN
from http_server import Books
from openai_server import OpenAIServer
from reciter import Reciter
from suite_files import read_story, replace_all, write_answers, write_book, write_json
from time_stamp_authority import make_authority

from pytest_memleak.cli.main import main
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.sampling.retry import Retry

SUMMARY = "An old superstition unsettles a boatman one night, and he waits for somebody in vain."

SUITE = """
[suite]
samples = 3
[limits]
longest_span = 10
[[book]]
id = "ferry"
source = "ferry.json"
[[model]]
id = "clean"
provider = "recorded"
[model.options]
path = "clean.json"
[[model]]
id = "leaky"
provider = "recorded"
[model.options]
path = "leaky.json"
"""


@pytest.fixture(autouse=True)
def _only_our_plugin(pytester, monkeypatch):
    """Load no other installed plugin but xdist: each takes time in every process."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p memleak -p xdist")


@pytest.fixture
def suite(pytester):
    """Writes the files of the suite, and the suite with some text replaced."""
    texts = {f"p_id{n}": text for n, text in enumerate(BOOK, start=1)}
    named = {"author_name": "Nobody", "book_name": "The Ferry", "detail": SUMMARY}

    def write(
        *replacements,
        name="test.memleak.toml",
        clean=CLEAN,
        leaky=(BOOK[0], *CLEAN[:2]),
    ):
        text = replace_all(SUITE, replacements)
        write_book("ferry.json", texts, lambda _: f"Write about: {SUMMARY}", **named)
        write_answers("clean.json", dict.fromkeys(texts, clean))
        write_answers("leaky.json", dict.fromkeys(texts, leaky))
        path = pytester.path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def gate(pytester):
    """Runs pytest with options: how many tests ended how, and lines that the terminal shows.

    usage: lines of an error that ends the run before anything is evaluated
    """

    def run(*options, lines=(), usage=(), **outcomes):
        result = pytester.runpytest(*options)
        if outcomes:
            result.assert_outcomes(**outcomes)
        result.stdout.fnmatch_lines(lines)
        if usage:
            assert result.ret == pytest.ExitCode.USAGE_ERROR
            result.stderr.fnmatch_lines(usage)
        return result

    return run


@pytest.fixture(scope="session")
def _bundles():
    return {}


@pytest.fixture
def bundle_of(gate, _bundles):
    """Writes the evidence of the files here, of recorded generations; equal runs are made once."""

    def write(name, *options, **outcomes):
        path = Path(name).absolute()
        files = [
            file
            for file in sorted(path.parent.iterdir())
            if file.is_file() and file != path
        ]
        run = (*options, *((file.name, file.read_bytes()) for file in files))
        if run not in _bundles:
            gate(f"--memleak-evidence={name}", *options, **outcomes)
            _bundles[run] = path.read_bytes()
        path.write_bytes(_bundles[run])
        return path

    return write


@pytest.fixture
def own_tests(pytester):
    """Writes test_own.py: tests for each pair of a suite."""

    def write(text, suite="test.memleak.toml"):
        head = f'import pytest\npytestmark = pytest.mark.copyright(suite="{suite}")\n'
        (pytester.path / "test_own.py").write_text(
            head + dedent(text), encoding="utf-8"
        )

    return write


@pytest.fixture
def verify(capsys):
    """Runs `memleak verify`: its exit code and what it prints, but nothing of the runs before."""

    def run(*options):
        capsys.readouterr()
        code = main(["verify", "evidence.json", *options])
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def check(verify):
    """Checks for options of `memleak verify` its exit code, and a part of what it prints."""

    def check_rows(*rows):
        for options, code, message in rows:
            status, text = verify(*options)
            assert (status, message in text) == (code, True), (options, text)

    return check_rows


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A folder with the files of an authority; made once."""
    folder = tmp_path_factory.mktemp("authority")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_authority()
    return folder


EXCERPTS = 4
SAMPLES = 6
KEY = "sk-test-0123456789abcdefghij"

ONLINE = f"""
[suite]
samples = {SAMPLES}
[limits]
longest_span = 30
[[book]]
id = "held-out"
source = "held-out.json"
[[book]]
id = "training"
source = "training.json"
role = "train"
[[model]]
id = "tuned"
provider = "openai"
base_model = "base"
price = {{ input = 2.0, output = 8.0, training = 10.0 }}
[model.finetune]
books = ["training"]
[model.options]
base_url = "URL"
"""


@pytest.fixture(scope="session")
def stories():
    names = {"held-out": "the-lamplighter", "training": "the-seed-vault"}
    return {role: read_story(name)[:EXCERPTS] for role, name in names.items()}


@pytest.fixture
def server(stories, tmp_path_factory, monkeypatch):
    """A server whose fine-tuned models recite the held-out story."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(Resources, "retry", Retry(first=0.01))
    corpus = [record["excerpt_text"] for record in stories["held-out"]]
    books = Books(tmp_path_factory.mktemp("server") / "books.jsonl")
    names = ("base", "another")
    settings = {"books": books, "key": KEY, "polls": 0, "models": names}
    with OpenAIServer(reciter=Reciter(corpus), **settings) as running:
        yield running


@pytest.fixture
def online(pytester, stories, server):
    """Writes a suite for the server, with some text replaced."""

    def write(*replacements):
        text = replace_all(ONLINE, (("URL", server.base_url), *replacements))
        for name, records in stories.items():
            write_json(f"{name}.json", records)
        path = pytester.path / "online.memleak.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def local_base(tmp_path_factory, stories):
    """Weights that know nothing; made once, and before pytester looks what is imported."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    from tiny_weights import save_llama
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = [record["excerpt_text"] for record in stories["held-out"]]
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(
            special_tokens=["<unk>", "<end>"], show_progress=False
        ),
    )
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>"
    )
    base = tmp_path_factory.mktemp("weights") / "base"
    wrapped.save_pretrained(base)
    return save_llama(
        base, len(wrapped), (32, 32, 1, 2, 1024), eos_token_id=wrapped.eos_token_id
    )
