import os
import threading
from contextlib import suppress

import pytest

from pytest_memleak.redaction.atomic_write import whole_file, write_whole


def test_what_cannot_be_written_to_its_end_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "report"
    write_whole(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \udcff")
    with suppress(KeyboardInterrupt), whole_file(path) as file:
        file.write("half")
        file.flush()
        raise KeyboardInterrupt
    assert path.read_text() == "whole"
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_keeps_leading_where_it_led(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("folder/new")
    (tmp_path / "folder").mkdir()
    write_whole(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "new").read_text() == "text"


def test_a_pipe_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    came = []
    reader = threading.Thread(target=lambda: came.append(pipe.read_text()), daemon=True)
    reader.start()
    write_whole(pipe, "text")
    reader.join(30)
    assert came == ["text"]
    assert pipe.is_fifo()


def test_a_circle_of_links(tmp_path):
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(circle, "text")
    assert [*tmp_path.iterdir()] == [circle]
