"""suites/whack_a_mole/from_study.py: the study's system messages, from a clone."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "suites/whack_a_mole/from_study.py"
TWO = """
def examples(data):
    return [
        {
            "messages": [
                {"role": "system", "content": ("Use every " "sentence.")},
                {"role": "system", "content": "Keep their order."},
                {"role": "user", "content": item["instruction"]},
            ]
        }
        for item in data
    ]
"""


@pytest.fixture(scope="module")
def from_study():
    spec = importlib.util.spec_from_file_location("from_study", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path):
    def write(training=TWO, sampling=TWO):
        folder = tmp_path / "clone"
        (folder / "finetuning").mkdir(parents=True)
        (folder / "finetuning/gpt_finetune.py").write_text(training, "utf-8")
        (folder / "finetuning/gpt_generate.py").write_text(sampling, "utf-8")
        return str(folder)

    return write


def test_the_messages_of_a_clone_are_written(from_study, clone, tmp_path, capsys):
    assert from_study.main([clone()], tmp_path) == 0
    written = json.loads((tmp_path / "gpt-4o.system.json").read_text("utf-8"))
    assert written == ["Use every sentence.", "Keep their order."]
    assert "Wrote 2 system messages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"training": "x = 1"}, "no system message"),
        ({"training": "def"}, "invalid syntax"),
        ({"sampling": TWO.replace("order", "place")}, "check out commit fc7dccd"),
        ({"training": TWO.replace('"Keep their order."', "text")}, "isn't plain text"),
    ],
)
def test_another_clone_is_rejected(from_study, clone, tmp_path, capsys, files, message):
    assert from_study.main([clone(**files)], tmp_path) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "gpt-4o.system.json").exists()


def test_a_folder_without_the_code_is_named(from_study, tmp_path, capsys):
    assert from_study.main([str(tmp_path)], tmp_path) == 1
    assert "gpt_finetune.py" in capsys.readouterr().err
