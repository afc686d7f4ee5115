"""What would go wrong at the end of a run is told before anything runs or is paid."""

import pytest
from marks import full


@pytest.fixture
def places(pytester):
    (pytester.path / "folder").mkdir()
    (pytester.path / "file").write_text("nothing of this kind")
    (pytester.path / "own.key").write_text("no key")
    (pytester.path / "circle").symlink_to("circle")
    (pytester.path / "astray").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--memleak-baseline=gone.json"],
            "--memleak-baseline: gone.json: cannot be read: No such file*",
        ),
        (["--memleak-baseline=file"], "--memleak-baseline: file: not a bundle*"),
        (["--memleak-html=folder"], "--memleak-html: folder is a folder*"),
        (["--memleak-evidence=folder"], "--memleak-evidence: folder is a folder*"),
        (
            ["--memleak-html=file/report.html"],
            "--memleak-html: file/report.html cannot be*",
        ),
        (["--memleak-html=file"], "--memleak-html: file exists and isn't a report*"),
        (["--memleak-evidence=own.key"], "--memleak-evidence: own.key exists and isn't a report*"),
        (["--memleak-evidence=circle"], "--memleak-evidence: circle cannot be written: Too many*"),
        (["--memleak-html=circle/o"], "--memleak-html: circle/o cannot be written: Too many*"),
        (["--memleak-html=astray/o"], "--memleak-html: astray/o cannot be written: No such*"),
        (["--memleak-html=o", "--memleak-evidence=o"], "*need different files"),
        (["--memleak-evidence=/proc/no/e.json"], "--memleak-evidence: /proc/no/e.json cannot*"),
        (
            ["--memleak-evidence=e.json", "--memleak-signing-key=gone.key"],
            "gone.key: cannot be read: *",
        ),
        (
            ["--memleak-evidence=e.json", "--memleak-signing-key=own.key"],
            "own.key: not an unencrypted*",
        ),
        (
            ["--memleak-evidence=e.json", "--memleak-signing-key=folder"],
            "folder: cannot be read: *",
        ),
        (["--memleak-ledger=mysql://svc:hunter22@host/x"], "Unsupported database 'mysql'*"),
        (["--memleak-ledger=nonsense"], "Invalid ledger URL: *"),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["here", "workers"])
def test_files_and_urls_of_options(pytester, online, server, places, options, said, workers):
    online()
    result = pytester.runpytest("-m", "copyright", *options, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*ERROR: {said}"])
    assert "hunter22" not in result.stderr.str() + result.stdout.str()
    assert server.plan.counts() == {}
    assert not (pytester.path / ".memleak").exists()


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["here", "workers"])
def test_a_ledger_that_cannot_be_opened(pytester, online, server, places, workers):
    online()
    result = pytester.runpytest("-m", "copyright", "--memleak-ledger=sqlite:///folder", *workers)
    assert result.ret != pytest.ExitCode.OK
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*folder: The file can't be opened*"])
    assert server.plan.counts() == {}


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["here", "workers"])
def test_options_of_a_model_that_is_not_even_asked(pytester, online, server, workers):
    bad = (
        '[[model]]\nid = "other"\nprovider = "openai"\nbase_model = "base"\n'
        "[model.options]\nn = 3\n\n"
    )
    online(("[[model]]", f"{bad}[[model]]"))
    result = pytester.runpytest("-m", "copyright", "-k", "tuned", *workers)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*model 'other': *unknown key*n*"])
    assert "passed" not in result.parseoutcomes()
    assert server.plan.counts() == {}


def test_what_can_be_written_is_not_written_before_the_end(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-html=new/deep/report.html", "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    assert not (pytester.path / "new").exists()


@pytest.mark.parametrize(
    "name", ["ledger", "ray-address", "html", "evidence", "signing-key", "baseline", "release"]
)
def test_an_option_whose_variable_is_not_set_is_no_option_left_out(pytester, suite, name):
    suite()
    result = pytester.runpytest(f"--memleak-{name}=")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--memleak-{name}: expected a *, got ''*"])
