"""One passage of a bundle for its reader, with a proof; nothing else of the book."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
from evidence_files import EVIDENCE, resealed

from pytest_memleak.cli.main import main

PAIR = "candidate/held-out"
DISCLOSE = ("disclose", "evidence.json", "--pair", PAIR)
CHANGES = 100


@pytest.fixture
def bundle(online, gate, pytester):
    """Evidence of a model that recites, whose generations are in a ledger."""
    online(
        ('[model.finetune]\nbooks = ["training"]\n', ""),
        (", training = 10.0", ""),
        ('id = "tuned"', 'id = "candidate"'),
        ("samples = 6", "samples = 2"),
        ("longest_span = 30", "longest_passage = 4"),
    )
    gate("-m", "copyright", EVIDENCE)
    return pytester.path / "evidence.json"


@pytest.fixture
def disclosed(bundle):
    """The longest passage in a file of its own, beside the bundle alone."""
    assert main([*DISCLOSE]) == 0
    shutil.rmtree(".memleak")
    for name in ("online.memleak.toml", "held-out.json", "training.json"):
        Path(name).unlink()
    return Path("passage.json")


def words_of(text):
    return re.findall(r"\w+", text.lower())


def runs(text, length=4):
    found = words_of(text)
    return {tuple(found[at : at + length]) for at in range(len(found) - length + 1)}


def test_a_disclosed_passage_verifies_against_the_bundle_alone(disclosed, verify):
    code, text = verify("--disclosed", "passage.json")
    line = f"  passage 1 of {PAIR} in passage.json is the one that the bundle has\n"
    assert (code, line in text.partition("\nverified:\n")[2]) == (3, True), text


def test_no_change_of_a_disclosed_passage_verifies(disclosed, verify):
    before = disclosed.read_bytes()
    dice = random.Random(51)
    for place in dice.sample(range(len(before)), CHANGES):
        other = dice.choice([byte for byte in b'aZ7 ,"' if byte != before[place]])
        changed = before[:place] + bytes([other]) + before[place + 1 :]
        disclosed.write_bytes(changed)
        assert verify("--disclosed", "passage.json")[0] in (1, 2), (place, other)


def test_no_change_of_a_value_verifies(disclosed, verify):
    content = json.loads(disclosed.read_text(encoding="utf-8"))
    for key, value in content.items():
        for other in (None, 7, f"{value} more", [], {}):
            changed = json.dumps(content | {key: other}, indent=1) + "\n"
            disclosed.write_text(changed, encoding="utf-8")
            code, text = verify("--disclosed", "passage.json")
            # A prompt may be left out: its digest stands for it.
            expected = (3,) if (key, other) == ("prompt", None) else (1, 2)
            assert code in expected, (key, other, text)


def test_a_disclosed_passage_has_no_other_words_of_the_book(bundle, stories):
    assert main([*DISCLOSE]) == 0
    text = Path("passage.json").read_text(encoding="utf-8")
    content = json.loads(text)
    book = " ".join(record["excerpt_text"] for record in stories["held-out"])
    shown = runs(content["book_text"]) | runs(content["generation_text"])
    assert shown & runs(book)
    prompt = content["prompt"]
    assert any(prompt == record["instruction"] for record in stories["held-out"])
    assert runs(text) & runs(book) <= shown | runs(prompt)


def test_a_prompt_that_quotes_the_book_is_left_out(bundle, gate, verify):
    suite = Path("online.memleak.toml")
    text = suite.read_text(encoding="utf-8")
    probe = '[suite]\nprobe = "continuation"\nprefix_words = 50'
    suite.write_text(text.replace("[suite]", probe), encoding="utf-8")
    gate("-m", "copyright", EVIDENCE)
    assert main([*DISCLOSE]) == 0
    content = json.loads(Path("passage.json").read_text(encoding="utf-8"))
    assert content["prompt"] is None
    assert verify("--disclosed", "passage.json", "--allow-failures")[0] == 0


def test_a_passage_of_another_bundle_is_wrong(bundle, verify):
    assert main([*DISCLOSE]) == 0
    resealed(bundle, lambda content: content.update(release="2"))
    code, text = verify("--disclosed", "passage.json")
    assert (code, "disclosure: it is of another bundle" in text) == (1, True)


def test_changed_digests_of_passages_are_found(bundle, verify):
    def change(content):
        content["pairs"][0]["committed"][0]["sha256"] = "0" * 64

    resealed(bundle, change)
    code, text = verify("--allow-failures")
    assert (code, "committed[0].sha256: the bundle says" in text) == (1, True), text


WRONG = (
    (("--passage", "99"), f"{PAIR} has no passage 99"),
    (("--passage", "0"), f"{PAIR} has no passage 0"),
    (("--pair", "nobody/held-out"), "no pair 'nobody/held-out'"),
    (("--ledger", "sqlite:///gone.db"), "No ledger exists here"),
    (("-o", "evidence.json"), "the output would overwrite this input"),
)


def test_what_cannot_be_disclosed_is_an_error(bundle, capsys):
    for options, message in WRONG:
        capsys.readouterr()
        wrong = DISCLOSE[:2] if "--pair" in options else DISCLOSE
        assert main([*wrong, *options]) == 2
        assert message in capsys.readouterr().err
    assert not Path("passage.json").exists()
