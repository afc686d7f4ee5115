"""What would go wrong at the end of a run is told before anything runs or is paid."""

import shlex

import pytest
from marks import full
from suite_files import model_table


@pytest.fixture
def places(pytester):
    (pytester.path / "folder").mkdir()
    (pytester.path / "file").write_text("nothing of this kind")
    (pytester.path / "own.key").write_text("no key")
    (pytester.path / "circle").symlink_to("circle")
    (pytester.path / "astray").symlink_to("nowhere")


KEY = "--memleak-signing-key"
SIGNED = f"--memleak-evidence=e.json {KEY}"
A_BASELINE, HTML, EVIDENCE = (
    "--memleak-baseline",
    "--memleak-html",
    "--memleak-evidence",
)
A_NAME = "--memleak-release: expected a name of at most 100 characters*"
# Options, as a shell takes them, and how the error begins.
WRONG = {
    f"{A_BASELINE}=gone.json": f"{A_BASELINE}: gone.json: can't be read: No such file*",
    f"{A_BASELINE}=file": f"{A_BASELINE}: file: not a bundle*",
    f"{HTML}=folder": f"{HTML}: folder is a folder*",
    f"{EVIDENCE}=folder": f"{EVIDENCE}: folder is a folder*",
    f"{HTML}=file/report.html": f"{HTML}: file/report.html can't be written: Not a directory*",
    f"{HTML}=file": f"{HTML}: file exists and isn't a report*",
    f"{EVIDENCE}=own.key": f"{EVIDENCE}: own.key exists and isn't a report*",
    f"{EVIDENCE}=circle": f"{EVIDENCE}: circle can't be written: Too many*",
    f"{HTML}=circle/o": f"{HTML}: circle/o can't be written: Too many*",
    f"{HTML}=astray/o": f"{HTML}: astray/o can't be written: No such*",
    f"{HTML}=o {EVIDENCE}=o": "*name the same file*",
    f"{EVIDENCE}=/proc/no/e.json": f"{EVIDENCE}: /proc/no/e.json can't*",
    f"{SIGNED}=gone.key": f"{KEY}: gone.key: can't be read: No such file*",
    f"{SIGNED}=own.key": "*own.key: not an unencrypted*",
    f"{SIGNED}=folder": "*folder: can't be read: *",
    "--memleak-signing-key=x.key": "--memleak-signing-key needs --memleak-evidence*",
    "--memleak-ledger=mysql://svc:hunter22@host/x": "Unsupported database 'mysql'*",
    "--memleak-ledger=nonsense": "Invalid ledger URL: expected a path that ends in .db, sqlite:*",
    "--memleak-dryrun": "unknown option --memleak-dryrun; did you mean --memleak-dry-run?",
    "--memleak-reprot=it.html": "unknown option --memleak-reprot; pytest --help lists all",
    "--memleak-release=2.1": "--memleak-release needs --memleak-evidence*",
    "--memleak-operator=Desk": "--memleak-operator needs --memleak-evidence*",
    **{
        f"{EVIDENCE}=e.json --memleak-release={shlex.quote(name)}": A_NAME
        for name in ("", " ", "a\nb", "x" * 101)
    },
    **{
        f"--memleak-{name}=": f"--memleak-{name}: expected a *, got ''*"
        for name in ("ledger", "html", "evidence", "signing-key", "baseline")
    },
    **{
        f"--memleak-quote={words}": (
            f"--memleak-quote: expected a number of words or 'full', got '{words}'"
        )
        for words in ("-1", "all", "1.5", "")
    },
    "--memleak-max-increase=bmc=0.1": "--memleak-max-increase needs --memleak-baseline*",
    **{
        f"--memleak-baseline=x --memleak-max-increase={value}": (
            f"--memleak-max-increase: expected MEASURE=NUMBER*'{value}'*"
        )
        for value in (
            "bmc",
            "bmc=",
            "=1",
            "bmc=much",
            "bmc=nan",
            "longest_span=inf",
            "bmc=-0.1",
        )
    },
    **{
        f"--memleak-baseline=x --memleak-max-increase={names}": f"--memleak-max-increase: {said}"
        for names, said in (
            ("bmc=0,bmc=1", "bmc occurs twice*"),
            ("bmc=0,bcm=0", "unknown measure 'bcm'; did you mean 'bmc'?"),
            (
                "longest-span=1",
                "unknown measure 'longest-span'; did you mean 'longest_span'?",
            ),
            ("x=0", "unknown measure 'x'; known: longest_passage, *"),
            ("uplift=0", "uplift has no per-round values, so a rise can't be tested*"),
            (
                "longest_block=0",
                "longest_block has no per-round values, *longest_span*",
            ),
            (
                "longest_span=3,bmc=1",
                "bmc=1: no share can rise by that much, so nothing could*",
            ),
        )
    },
    **{
        f"--memleak-budget={usd}": f"--memleak-budget: expected US$0 or more, got '{usd}'"
        for usd in ("-1", "much", "nan", "inf")
    },
    **{
        f"--memleak-jobs={jobs}": f"--memleak-jobs: expected 1 or more*, got '{jobs}'"
        for jobs in ("0", "-1", "many", "1.5")
    },
}
ONE = next(iter(WRONG))


@pytest.mark.parametrize(
    ("options", "workers"),
    [*((options, ()) for options in WRONG), full(ONE, ("-n", "1"))],
)
def test_impossible_options_are_rejected_before_the_first_call(
    pytester, online, server, gate, places, options, workers
):
    online()
    usage = [f"*{WRONG[options]}"]
    result = gate("-m", "copyright", *shlex.split(options), *workers, usage=usage)
    text = result.stderr.str() + result.stdout.str()
    for never in ("hunter22", "Traceback", "INTERNALERROR"):
        assert never not in text
    assert server.plan.counts() == {}
    assert not (pytester.path / ".memleak").exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///folder", "*folder: The file can't be opened*"),
        ("sqlite:///file/ledger.db", "*ledger.db: Unusable: Not a directory*"),
        ("postgresql+psycopg://user:hunter22@127.0.0.1:1/none", "*127.0.0.1*"),
    ],
)
@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["here", "workers"])
def test_a_ledger_that_cannot_be_opened_ends_the_run_before_the_first_call(
    online, server, places, gate, workers, url, shown
):
    online()
    result = gate(
        "-m", "copyright", f"--memleak-ledger={url}", *workers, lines=[shown], errors=1
    )
    assert result.ret != pytest.ExitCode.OK
    for never in ("hunter22", "New ledger"):
        assert never not in result.stdout.str() + result.stderr.str()
    assert server.plan.counts() == {}


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["here", "workers"])
def test_options_of_a_deselected_model_are_checked(pytester, online, server, workers):
    bad = model_table("other", "openai", "n = 3", 'base_model = "base"')
    online(("[[model]]", f"{bad}[[model]]"))
    result = pytester.runpytest("-m", "copyright", "-k", "tuned", *workers)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*model 'other': *unknown key*n*"])
    assert "passed" not in result.parseoutcomes()
    assert server.plan.counts() == {}
