"""Suite files that cannot be run: one clear error, before anything runs."""

import pytest

CASES = [
    (("samples = 3", "samples = 0"), "suite.samples: *greater than or equal to 1; got 0"),
    (("samples = 3", "sampels = 3"), "suite.sampels: unknown key; did you mean 'samples'?"),
    (("samples = 3", 'samples = "many"'), "suite.samples: *integer; got 'many'"),
    (("longest_span = 10", "longest_sapn = 10"), "limits.longest_sapn: unknown key; did you mean*"),
    (("longest_span = 10", ""), "pair clean/ferry has no limits, so it can't fail"),
    (('source = "ferry.json"', 'source = "gone.epub"'), "book 'ferry'.source: no such file*"),
    (('id = "leaky"', 'id = "clean"'), "model: duplicate id 'clean'"),
    (('id = "leaky"', 'id = "lea/ky"'), "model[[]2] 'lea/ky'.id: *got 'lea/ky'"),
    (('provider = "recorded"', 'provider = "recoded"'), "*unknown provider 'recoded'; known*"),
    (('id = "leaky"', 'id = "leaky"\nbaseline_model = "none"'),
     "model 'leaky'.baseline_model: *no such id: 'none'*"),
    (('id = "leaky"', 'id = "leaky"\nlimits = { longest_span = 11 }'), "*: 11 is looser than 10*"),
    (("[suite]", "[suite"), "*: not TOML: *line 2*"),
    (("[[book]]", 'junk = 1\n[[book]]'), "limits.junk: unknown key*"),
    (("samples = 3", "samples = 3\nsk = 'sk-abcdefgh1234567890abcdefgh'"), "*looks like a secret*"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), CASES, ids=lambda value: value[-1][:40])
def test_it_is_a_collection_error_with_file_key_and_value(pytester, suite, change, said):
    suite(change)
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str()
    assert "test.memleak.toml" in text
    assert "Traceback" not in text
    assert "abcdefgh1234567890" not in text
    result.stdout.fnmatch_lines([f"*{said}"])


def test_control_characters_of_its_name_and_keys_do_not_act_on_the_terminal(pytester, suite):
    suite(("[suite]", '[suite]\n"\\u001b[31m" = 1'))
    (pytester.path / "test.memleak.toml").rename(pytester.path / "a\x1b[31m.memleak.toml")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert "\\x1b" in result.stdout.str()
    assert "\x1b" not in result.stdout.str() + result.stderr.str()


def test_a_secret_among_the_providers_options_is_refused(pytester, suite):
    suite(('path = "leaky.json"', 'path = "leaky.json"\napi_key = "hunter2hunter2"'))
    result = pytester.runpytest()
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*secret*"])
    result.stdout.no_fnmatch_line("*hunter2*")


def test_the_providers_own_options_are_checked(pytester, suite):
    suite(('path = "leaky.json"', 'path = "leaky.json"\nspeed = 3'))
    result = pytester.runpytest("-k", "clean")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*model 'leaky': unknown key 'options.speed'*"])


def test_a_training_book_that_holds_the_test_book_is_refused(pytester, suite):
    suite(
        ('source = "ferry.json"', 'source = "ferry.json"\n[[book]]\nid = "other"\nrole = "train"\n'
         'source = "ferry.json"'),
        ('id = "leaky"\nprovider = "recorded"', 'id = "leaky"\nprovider = "ngram"\n'
         '[model.finetune]\nbooks = ["other"]'),
        ('path = "leaky.json"', ""),
    )  # fmt: skip
    result = pytester.runpytest("-k", "leaky")
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["*it shares 100.0% of its words*'other'*'leaky' is fine-tuned on; test*"]
    )


def test_a_marker_with_unknown_arguments_is_refused(pytester, suite):
    suite()
    pytester.makepyfile(
        "import pytest\n@pytest.mark.copyright(suit='x')\ndef test_it(memorization): pass"
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    fix = '  write @pytest.mark.copyright(suite="release.memleak.toml")'
    result.stdout.fnmatch_lines(["*copyright takes suite=*suit*", fix])


def test_a_marker_that_names_no_suite_file_is_refused(pytester, suite):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.copyright(suite='no.toml')\ndef test_it(memorization): pass"
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*no.toml: cannot be read: No such file or directory*"])
