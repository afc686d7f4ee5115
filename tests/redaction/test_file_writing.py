import errno
import os
import stat
from contextlib import suppress

import pytest

from pytest_memleak.redaction.file_writing import (
    private_file,
    private_folder,
    whole_file,
    write_whole,
)


@pytest.fixture(autouse=True)
def _as_most_people_have_it():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_created_files_are_for_their_owner_alone(tmp_path):
    private_folder(tmp_path / "a" / "b")
    private_file(tmp_path / "a" / "b" / "file")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)
    assert mode(tmp_path / "a" / "b" / "file") == 0o600
    assert "\n*\n" in (tmp_path / "a" / ".gitignore").read_text()
    assert not (tmp_path / "a" / "b" / ".gitignore").exists()


def test_existing_files_keep_their_mode(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "theirs" / "file").touch(mode=0o644)
    private_folder(tmp_path / "theirs")
    private_file(tmp_path / "theirs" / "file")
    assert mode(tmp_path / "theirs") == 0o755
    assert mode(tmp_path / "theirs" / "file") == 0o644
    assert not (tmp_path / "theirs" / ".gitignore").exists()


def test_an_open_memleak_folder_is_closed(tmp_path):
    ours = tmp_path / ".memleak"
    ours.mkdir(mode=0o755)
    (ours / "ledger.db").write_text("kept")
    (ours / ".gitignore").write_text("!mine\n")
    private_folder(ours / "tinker")
    private_file(ours / "ledger.db")
    assert (mode(ours), mode(ours / "ledger.db")) == (0o700, 0o600)
    assert (ours / "ledger.db").read_text() == "kept"
    assert (ours / ".gitignore").read_text() == "!mine\n"


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "report"
    write_whole(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \udcff")
    with suppress(KeyboardInterrupt), whole_file(path) as file:
        file.write("half")
        file.flush()
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="full: '"), whole_file(path):
        raise OSError(errno.ENOSPC, "full")
    assert path.read_text() == "whole"
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_keeps_leading_where_it_led(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("folder/new")
    (tmp_path / "folder").mkdir()
    write_whole(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "new").read_text() == "text"
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(circle, "text")
    assert circle.is_symlink()
    assert {*tmp_path.iterdir()} == {link, circle, tmp_path / "folder"}


def test_a_pipe_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
