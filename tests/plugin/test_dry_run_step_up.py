"""The dry run's line on the next usual number of samples: what it detects and costs."""

ASKED = ("-m", "copyright", "--memleak-dry-run")


def test_a_dry_run_shows_what_the_next_usual_samples_detect(online, gate):
    online()
    result = gate(*ASKED)
    out = result.stdout.str()
    assert "10 samples: detection limit 25.9%, " in out
    assert "(memleak doctor: more)" in out


def test_a_dry_run_with_the_most_usual_samples_shows_no_step_up(online, gate):
    online(("samples = 6", "samples = 299"))
    assert "memleak doctor: more" not in gate(*ASKED).stdout.str()
