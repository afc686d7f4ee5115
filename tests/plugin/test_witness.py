"""Runs that a witness was told of: a git remote, which counts attempts across ledgers."""

import base64
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from evidence_files import resealed
from ferry import BOOK
from suite_files import write_json
from time_stamp_authority import StampServer
from witnesses import Witnessed

from pytest_memleak.pipeline.witness_git_remote import GitWitness

# Before pytester runs: it forgets what was imported since.
pytest.importorskip("rfc3161_client")

KILLED = """
import os
def pytest_runtest_setup():
    os._exit(9)
"""


@pytest.fixture
def witnessed(pytester, monkeypatch):
    monkeypatch.chdir(pytester.path)
    return Witnessed(pytester)


def kill_during_first_test(witnessed, folder):
    conftest = witnessed.write(folder) / "conftest.py"
    conftest.write_text(KILLED, encoding="utf-8")
    witnessed.run(folder, how="runpytest_subprocess")
    conftest.unlink()


def test_the_third_of_three_fresh_ledgers_is_attempt_three(witnessed, capsys):
    """Neither another name of model, book and suite nor another seed hides an attempt."""
    witnessed.begin("first")
    witnessed.begin("renamed", model="other", book="story")
    result = witnessed.begin("reseeded", seed=7)
    result.stdout.fnmatch_lines(
        ["witness: attempt 3 of 3 known to file://*, 0 without a result"]
    )
    shutil.rmtree("../witness.git")  # offline
    for number, folder in enumerate(("first", "renamed", "reseeded"), start=1):
        code, text = witnessed.verify(capsys, folder)
        assert code == 0, text
        assert "level: recomputed, witnessed\n" in text
        assert f"witness: attempt {number} of {number} known to file:/" in text


def test_a_run_killed_after_its_announcement_is_without_a_result(witnessed, capsys):
    kill_during_first_test(witnessed, "killed")
    witnessed.begin("next")
    _, text = witnessed.verify(capsys, "next")
    assert "attempt 2 of 2 known to" in text
    assert "1 without a result" in text
    (line,) = (line for line in text.splitlines() if line.startswith("  attempt: "))
    assert line.startswith("  attempt: 2 of 2 known to file://")
    assert "1 without a result; 1 (0 generations removed" in line
    assert line.endswith("as its ledger has it")


def test_a_killed_run_goes_on_with_its_announcement_and_seed(witnessed, capsys):
    kill_during_first_test(witnessed, "killed")
    witnessed.begin("other", texts=BOOK[:1])  # another book: another head
    witnessed.run("killed")
    announced = [entry for entry in witnessed.log() if "pairs" in entry]
    assert len(announced) == 2
    _, text = witnessed.verify(capsys, "killed")
    assert "attempt 1 of 1 known to" in text
    assert "0 without a result" in text
    assert witnessed.bundle("killed")["witness"]["head"] == announced[0]["head"]


def test_more_samples_go_on_with_the_announcement(witnessed):
    path = witnessed.write("more") / "of_more.memleak.toml"
    witnessed.run("more")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("samples = 2", "samples = 3"), encoding="utf-8")
    witnessed.run("more")
    provenance = witnessed.bundle("more")["pairs"][0]["provenance"]
    assert provenance["calls"] > provenance["calls_this_run"]
    assert [sorted(entry) for entry in witnessed.log()].count(
        ["head", "ledger", "pairs", "schema"]
    ) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('provider = "ngram"', 'provider = "ngram"\nweights_version = "2"'),
        ("samples = 2", 'samples = 2\ninstruction_template = "Tell it: {words}"'),
        ("seed = 0", 'seed = "none"'),
    ],
)
def test_what_a_ledger_samples_again_is_announced_again(witnessed, old, new):
    """No key of a suite draws anew under an announcement that was made before."""
    path = witnessed.write_suite("one")
    witnessed.run("one")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    result = witnessed.run("one")
    result.stdout.fnmatch_lines(["witness: attempt 2 of 2 known to *"])


def test_each_setting_of_one_announcement_is_an_attempt(witnessed, capsys):
    """Whoever runs five suites at once, and shows one, made five attempts."""
    path = witnessed.write_suite("one")
    text = path.read_text(encoding="utf-8")
    warm = text.replace("samples = 2", "samples = 2\ntemperature = 0.9")
    path.with_name("warm.memleak.toml").write_text(warm, encoding="utf-8")
    witnessed.run("one")
    result = witnessed.run("one", path.name)
    result.stdout.fnmatch_lines(["witness: attempt [12] of 2 known to *"])
    _, text = witnessed.verify(capsys, "one")
    assert "level: recomputed, witnessed\n" in text


def test_without_a_seed_a_run_is_not_witnessed(witnessed, pytester, capsys):
    """Its generations can be older: here an earlier run, which no witness knows, made them."""
    path = witnessed.write_suite("one")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("seed = 0", 'seed = "none"'), encoding="utf-8")
    pytester.runpytest("--rootdir=.")
    witnessed.run("one")
    _, text = witnessed.verify(capsys, "one")
    assert "level: recomputed\n" in text
    assert "babbler/ferry sends no seed" in text


def test_the_seed_comes_from_the_log_and_not_from_the_suite(witnessed):
    witnessed.begin("one", seed=3)
    witnessed.begin("two", seed=3)
    seeds = [
        witnessed.bundle(folder)["pairs"][0]["settings"]["seed"]
        for folder in ("one", "two")
    ]
    assert 3 not in seeds
    assert seeds[0] != seeds[1]


def test_an_announcement_names_no_id_and_no_word(witnessed):
    witnessed.begin("one", model="secret-model", book="secret-book")
    announced, end = witnessed.log()
    assert sorted(announced) == ["head", "ledger", "pairs", "schema"]
    (pair,) = announced["pairs"]
    assert sorted(pair) == ["book", "identified_by", "model", "prompts", "settings"]
    assert sorted(end) == ["announcement", "bundle", "schema"]
    history = witnessed.git("log", "-p", "memleak-witness")
    assert "secret" not in history
    assert "lanterns" not in history


def test_an_unreachable_witness_stops_a_run_before_its_first_call(witnessed):
    witnessed.write("one")
    result = witnessed.run("one", url=(witnessed.home / "gone.git").as_uri())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--memleak-witness: *gone.git*", "*make sure that this works: git ls-remote*"]
    )
    assert not Path("evidence.json").exists()
    assert not Path(".memleak/ledger.db").exists()


def test_a_witness_that_rejects_announcements_stops_a_run(witnessed):
    hook = witnessed.home / "witness.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    result = witnessed.begin("one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*doesn't take the announcement*"])
    assert not Path("evidence.json").exists()


def test_a_lost_race_is_run_again(witnessed):
    """Another announcement arrives before the first push, which git then rejects."""
    witnessed.begin("other", texts=BOOK[:1])
    hook = witnessed.home / "witness.git" / "hooks" / "update"
    hook.write_text(RACE, encoding="utf-8")
    hook.chmod(0o755)
    witnessed.begin("one").stdout.fnmatch_lines(["witness: attempt 1 of 1 known to *"])
    assert (
        witnessed.git("log", "--format=%s", "memleak-witness").split().count("another")
        == 1
    )


RACE = """#!/bin/sh
test -e raced && exit 0
touch raced
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a
unset GIT_QUARANTINE_PATH
git update-ref refs/heads/memleak-witness \
  $(git commit-tree -p memleak-witness -m another 'memleak-witness^{tree}')
exit 1
"""


def test_a_rewritten_history_stops_the_next_run(witnessed):
    witnessed.begin("one")
    witnessed.git("update-ref", "-d", "refs/heads/memleak-witness")
    result = witnessed.run("one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*history was rewritten*"])


def test_a_log_that_lost_an_announcement_stops_the_next_run(witnessed):
    """A commit that deletes it goes forward, so git takes the push."""
    witnessed.begin("one")
    empty = witnessed.git("mktree", "--missing").strip()
    by = ("-c", "user.name=a", "-c", "user.email=a")
    last = ("-p", "memleak-witness", "-m", "tidy")
    commit = witnessed.git(*by, "commit-tree", empty, *last).strip()
    witnessed.git("update-ref", "refs/heads/memleak-witness", commit)
    result = witnessed.begin("two")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*log was changed: commit * changes announcements/*"])


def test_a_merge_that_hides_announcements_stops_the_next_run(witnessed):
    """Git takes it: nothing is rewritten, but the first parents are others."""
    witnessed.begin("one")
    git = witnessed.git
    empty = git("mktree").strip()
    root = git("commit-tree", empty, "-m", "root").strip()
    head = git("rev-parse", "memleak-witness").strip()
    tree = f"{head}^{{tree}}"
    merge = git("commit-tree", tree, "-p", root, "-p", head, "-m", "merge").strip()
    git("update-ref", "refs/heads/memleak-witness", merge, head)
    result = witnessed.begin("two")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*log was changed: commit * is a merge*"])


@pytest.mark.parametrize("content", [b"{}", b'{"schema": "announcement 9"}', b"\xff"])
def test_an_entry_that_cannot_be_read_stops_the_next_run(witnessed, content):
    """A later version's announcement counts as an attempt, so it isn't left out."""
    witnessed.begin("one")
    name = hashlib.sha256(content).hexdigest()
    place = f"announcements/{name}.json"
    witness = GitWitness(witnessed.url, witnessed.home / "copy")
    witness.append({place: content}, after=witness.fetch())
    result = witnessed.begin("two")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*log was changed: {place}*"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_WORK_TREE", "/"),
        ("GIT_NAMESPACE", "elsewhere"),
        ("GIT_QUARANTINE_PATH", "/"),
        ("GIT_CONFIG_PARAMETERS", "'push.gpgSign=true'"),
        ("GIT_CONFIG_PARAMETERS", "'push.recurseSubmodules=only'"),
    ],
)
def test_the_users_git_does_not_divert_an_announcement(
    witnessed, monkeypatch, name, value
):
    """As where pytest runs in a hook of git, which sets variables of its own."""
    witnessed.write("one")
    monkeypatch.setenv(name, value)
    witnessed.run("one")
    monkeypatch.delenv(name)
    assert [min(entry) for entry in witnessed.log()] == ["head", "announcement"]


def test_a_damaged_copy_of_the_log_is_named(witnessed):
    """Git itself says only that an object is bad."""
    path = witnessed.write("one")
    witnessed.run("one")
    (copy,) = (path / ".memleak/witness").glob("*.git")
    branch = copy / "refs/heads/memleak-witness"
    branch.write_text("not a commit", encoding="utf-8")
    result = witnessed.run("one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*if it does, move the copy *.git away*"])
    shutil.rmtree(copy)
    witnessed.run("one").stdout.fnmatch_lines(["witness: attempt 1 of 1 known to *"])


def test_verify_sees_a_rewritten_history(witnessed, capsys):
    witnessed.begin("failed")
    before = witnessed.git("rev-parse", "memleak-witness").strip()
    witnessed.begin("passed")
    assert witnessed.verify(capsys, "passed", "--witness", witnessed.url)[0] == 0
    witnessed.git("update-ref", "refs/heads/memleak-witness", before)
    code, text = witnessed.verify(capsys, "passed", "--witness", witnessed.url)
    assert code == 1
    assert "its history was rewritten, or the receipt is forged" in text


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3@cret@git.example/witness.git",
        "https://git.example/witness.git?token=s3cret",
    ],
)
def test_verify_does_not_print_a_secret_of_the_url(url, witnessed, monkeypatch, capsys):
    """Of a URL that git's configuration leads to the witness."""
    witnessed.begin("one")
    setting = f"'url.{witnessed.url}.insteadOf={url}'"
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", setting)
    _, text = witnessed.verify(capsys, "one", "--witness", url)
    assert "attempt 1 of 1 known to https://git.example/witness.git," in text
    assert "cret" not in text


def test_verify_counts_later_attempts_of_the_witness(witnessed, capsys):
    witnessed.begin("one")
    witnessed.begin("two")
    _, text = witnessed.verify(capsys, "one", "--witness", witnessed.url)
    assert "attempt 1 of 2 known to" in text


def test_a_receipt_of_another_run_is_wrong(witnessed, capsys):
    witnessed.begin("one")
    witnessed.begin("two")
    shutil.copy("../one/evidence.witness.json", "evidence.witness.json")
    code, text = witnessed.verify(capsys, "two")
    assert code == 1
    assert "the log doesn't have the bundle's announcement" in text


def test_a_forged_receipt_is_seen_by_the_witness(witnessed, pytester, capsys):
    """A log of one's own, with the one attempt that passed."""
    witnessed.begin("one")
    (pytester.path / "own").mkdir()
    forged = Witnessed(pytester, pytester.path / "own")
    forged.begin("two")
    assert forged.verify(capsys, "two")[0] == 0  # offline, it is whole
    code, text = forged.verify(capsys, "two", "--witness", witnessed.url)
    assert code == 1
    assert "the receipt is forged" in text


@pytest.mark.parametrize("place", [200, 400, 600])
def test_a_changed_byte_of_the_log_is_wrong(witnessed, capsys, place):
    witnessed.begin("one")
    receipt = Path("evidence.witness.json")
    content = json.loads(receipt.read_text(encoding="utf-8"))
    log = bytearray(base64.b64decode(content["log"]))
    log[place] ^= 1
    content["log"] = base64.b64encode(log).decode()
    receipt.write_text(json.dumps(content), encoding="utf-8")
    code, text = witnessed.verify(capsys, "one")
    assert (code, "witness: " in text) == (1, True)


CHANGES = {
    "seed": lambda bundle: bundle["witness"].update(seed=5),
    "head": lambda bundle: bundle["witness"].update(head="0" * 40),
    "model": lambda bundle: bundle["witness"]["pairs"][0]["announced"].update(
        model="0" * 64
    ),
    "pairs": lambda bundle: bundle["witness"]["pairs"].clear(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_statement_on_the_witness_is_wrong(witnessed, capsys, name):
    witnessed.begin("one")
    resealed(Path("evidence.json"), CHANGES[name])
    code, text = witnessed.verify(capsys, "one")
    assert (code, "wrong:\n  witness: " in text) == (1, True)


def test_a_bundle_that_no_end_names_is_wrong(witnessed, capsys):
    """Whoever seals a changed bundle anew has its announcement, but not its end."""
    witnessed.begin("one")
    resealed(Path("evidence.json"), lambda bundle: bundle.update(release="other"))
    code, text = witnessed.verify(capsys, "one")
    assert code == 1
    assert "witness: no end of the announced run names this bundle" in text


def test_a_missing_receipt_leaves_the_attempt_open(witnessed, capsys):
    witnessed.begin("one")
    Path("evidence.witness.json").unlink()
    code, text = witnessed.verify(capsys, "one")
    assert (code, "witnessed" in text.split("\n")[1]) == (0, False)
    assert "no receipt evidence.witness.json" in text
    assert witnessed.verify(capsys, "one", "--witness", witnessed.url)[0] == 1


def test_an_unwitnessed_bundle_has_no_key_for_a_witness(witnessed, pytester, capsys):
    witnessed.write("one", seed=4)
    pytester.runpytest("--rootdir=.", "--memleak-evidence=evidence.json")
    bundle = witnessed.bundle("one")
    assert "witness" not in bundle
    assert bundle["pairs"][0]["settings"]["seed"] == 4
    assert "witness" not in witnessed.verify(capsys, "one")[1]
    code, text = witnessed.verify(capsys, "one", "--witness", witnessed.url)
    assert (code, "the bundle's run wasn't announced" in text) == (1, True)


def test_a_tests_own_endpoint_is_inconclusive_under_a_witness(witnessed):
    witnessed.write("one")
    Path("conftest.py").write_text(OWN_ENDPOINT, encoding="utf-8")
    result = witnessed.run("one")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*own endpoint can't be announced*"])


OWN_ENDPOINT = """
import pytest
class Own:
    def sample(self, instruction, **settings):
        return ["text"]
@pytest.fixture
def memleak_endpoint():
    return Own()
"""


@pytest.mark.full
def test_workers_share_one_announcement(witnessed):
    witnessed.begin("one", "-n2").stdout.fnmatch_lines(
        ["witness: attempt 1 of 1 known to *, 0 without a result"]
    )
    assert len(witnessed.log()) == 2


def test_a_witness_needs_a_bundle(witnessed, pytester):
    witnessed.write("one")
    result = pytester.runpytest(f"--memleak-witness={witnessed.url}")
    result.stderr.fnmatch_lines(["*--memleak-witness needs --memleak-evidence*"])


def test_a_time_stamp_shows_when_a_run_was_announced(witnessed, authority, capsys):
    with StampServer(authority) as server:
        witnessed.begin("one", f"--memleak-timestamp-server={server.url}")
    roots = ("--timestamp-roots", str(authority / "ca.pem"))
    assert "witness: announced by 20" in witnessed.verify(capsys, "one", *roots)[1]
    open_text = "the announcement's time stamp: add --timestamp-roots"
    assert open_text in witnessed.verify(capsys, "one")[1]
    others = ("--timestamp-roots", str(authority / "x.pem"))
    code, text = witnessed.verify(capsys, "one", *others)
    assert code == 1
    assert "the trusted certificates don't confirm it" in text


def test_an_unreachable_time_stamp_server_stops_a_run(witnessed):
    result = witnessed.begin("one", "--memleak-timestamp-server=http://127.0.0.1:1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*time stamp authority can't be reached*"])
    assert not Path("evidence.json").exists()


def test_a_name_from_the_authors_own_server_is_marked(
    server, stories, witnessed, monkeypatch
):
    """Whoever runs the server can give the same weights another name."""
    witnessed.home.joinpath("one").mkdir()
    monkeypatch.chdir(witnessed.home / "one")
    write_json("held-out.json", stories["held-out"])
    text = NAMED_BY_ITS_AUTHOR.replace("URL", server.url)
    Path("it.memleak.toml").write_text(text, encoding="utf-8")
    result = witnessed.run("one", "-m", "copyright")
    result.stdout.fnmatch_lines(
        ["witness: attempt 1 of 1 *; its model goes by a name that its author chose"]
    )
    (announced,) = (entry for entry in witnessed.log() if "pairs" in entry)
    kinds = [pair["identified_by"] for pair in announced["pairs"]]
    assert kinds == ["a name that its author chose"]


NAMED_BY_ITS_AUTHOR = """
[suite]
samples = 2
[limits]
longest_span = 30
[[book]]
id = "held-out"
source = "held-out.json"
[[model]]
id = "m"
provider = "openai"
endpoint = "base"
[model.options]
base_url = "URL"
"""
