"""-m copyright and --memleak-allow-paid: only they make paid calls."""

import pytest

from pytest_memleak import score

ASKED = ("-m", "copyright")
CANARIES = 4


def rows(server, kind="completion"):
    return server.books.rows(kind)


def test_a_plain_run_skips_pairs_that_cost_money_and_says_how_to_run_them(pytester, online, server):
    online()
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*calls openai: run it with -m copyright or --memleak-allow-paid"])
    assert server.books.rows() == []
    # A skip without a word, at exit code 0, would look like a pass.
    result = pytester.runpytest("-q")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["memleak: 1 pair was not measured, *: add -m copyright"])


def test_whoever_has_other_skips_is_told_nothing_of_pairs(pytester):
    pytester.makepyfile("import pytest\n\n\n@pytest.mark.skip\ndef test_it(): ...")
    result = pytester.runpytest()
    result.assert_outcomes(skipped=1)
    result.stdout.no_fnmatch_line("*memleak: *")


@pytest.mark.parametrize("asked", [ASKED, ("--memleak-allow-paid",)])
def test_asked_for_it_fine_tunes_samples_and_judges(pytester, online, server, asked):
    online()
    result = pytester.runpytest(*asked)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tuned/held-out*24/24*FAIL*"])
    assert len(rows(server, "finetune")) == 1
    assert len(rows(server)) == 24 + CANARIES


@pytest.mark.parametrize("batch", [False, True])
def test_the_numbers_are_those_of_the_servers_own_record(pytester, online, server, stories, batch):
    online(("[model.options]", f"[model.options]\nbatch = {str(batch).lower()}"))
    pytester.runpytest(*ASKED, "--junitxml=out.xml").assert_outcomes(failed=1)
    sent = {record["instruction"]: [] for record in stories["held-out"]}
    for row in rows(server)[CANARIES:]:
        sent[row["instruction"]].append({"generated_text": row["text"]})
    expected = score(
        stories["held-out"],
        [
            {"excerpt_id": record["excerpt_id"], "generations": sent[record["instruction"]]}
            for record in stories["held-out"]
        ],
    )
    junit = (pytester.path / "out.xml").read_text(encoding="utf-8")
    assert f'name="memleak.bmc" value="{expected.bmc}"' in junit
    assert f'name="memleak.longest_block" value="{expected.longest_block.words}"' in junit
    assert f'name="memleak.longest_span" value="{expected.longest_span.words}"' in junit
    assert f'name="memleak.spans_over" value="{expected.spans_over}"' in junit


def test_a_second_run_pays_for_nothing(pytester, online, server):
    online()
    pytester.runpytest(*ASKED).assert_outcomes(failed=1)
    before = server.books.rows()
    pytester.runpytest(*ASKED).assert_outcomes(failed=1)
    assert server.books.rows() == before


def test_more_samples_pay_for_the_rest_only(pytester, online, server):
    online()
    pytester.runpytest(*ASKED)
    online(("samples = 6", "samples = 8"))
    pytester.runpytest(*ASKED).assert_outcomes(failed=1)
    assert len(rows(server)) == 4 * 8 + CANARIES
    assert len(rows(server, "finetune")) == 1


@pytest.mark.full
def test_processes_share_the_fine_tune_and_the_draws(pytester, online, server):
    second = (
        '[[model]]\nid = "tuned"',
        '[[model]]\nid = "again"\nprovider = "openai"\nbase_model = "base"\n'
        '[model.finetune]\nbooks = ["training"]\n[model.options]\nbase_url = "URL"\n\n'
        '[[model]]\nid = "tuned"',
    )
    online(second, ("URL", server.base_url))
    pytester.runpytest("-n", "2", *ASKED).assert_outcomes(failed=2)
    assert len(rows(server, "finetune")) == 1
    assert len(rows(server)) == 24 + CANARIES


def test_a_server_that_refuses_the_key_is_inconclusive_and_names_the_variable(
    pytester, online, server, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-9876543210abcdefghij")
    online()
    result = pytester.runpytest(*ASKED, "-l")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*openai*OPENAI_API_KEY*"])


def test_no_key_is_in_any_file_or_output_of_the_run(pytester, online, server, monkeypatch):
    wrong = "sk-wrong-9876543210abcdefghij"
    online()
    outputs = [pytester.runpytest(*ASKED, "-l", "--junitxml=a.xml").stdout.str()]
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    online(("samples = 6", "samples = 7"))
    outputs.append(
        pytester.runpytest(*ASKED, "-l", "--full-trace", "--junitxml=b.xml").stdout.str()
    )
    written = [path.read_bytes() for path in pytester.path.rglob("*") if path.is_file()]
    assert len(written) > 5
    for key in ("sk-test-0123456789abcdefghij", wrong):
        assert not any(key in text for text in outputs)
        assert not any(key.encode() in content for content in written)
