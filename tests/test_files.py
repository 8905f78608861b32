"""Files: whole or not at all, one process at a time, and nothing that a stranger put in the way is followed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minires.files import cache_folder, locked, previous, set_aside, written_safely

needs_posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_takes_the_place_of_the_old_one_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with written_safely(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a.txt"]


def test_the_file_before_is_kept_when_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    for text in (b"1", b"2", b"3"):
        with written_safely(path, keep_previous=True) as file:
            file.write(text)
    assert (path.read_bytes(), previous(path).read_bytes(), names(tmp_path)) == (
        b"3",
        b"2",
        ["a.txt", "a.txt.previous"],
    )


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_writing_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        with written_safely(path, keep_previous=True) as file:
            file.write(b"ne")
            raise error
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.txt"]
    assert getattr(error, "filename", str(path)) == str(path)  # of which the system, asked to write, says nothing


@needs_posix
@pytest.mark.parametrize("plant", [lambda new, other: new.symlink_to(other), lambda new, other: os.mkfifo(new)])
def test_what_stands_in_the_way_of_writing_is_replaced_and_not_followed(tmp_path, plant):
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    plant(tmp_path / "a.txt.new", other)
    with written_safely(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert (other.read_bytes(), (tmp_path / "a.txt").read_bytes()) == (b"mine", b"new")


def test_a_file_set_aside_takes_no_name_that_is_taken(tmp_path):
    for text in (b"1", b"2"):
        (tmp_path / "a").write_bytes(text)
        set_aside(tmp_path / "a", "damaged")
    assert (tmp_path / "a.damaged").read_bytes() == b"1" and (tmp_path / "a.damaged2").read_bytes() == b"2"


# -- locks --------------------------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path):
    path = tmp_path / ".lock"
    for _ in range(2):
        with locked(path):
            with pytest.raises(BlockingIOError, match=r"\.lock: another process holds this lock"):
                with locked(path):
                    pass
    assert names(tmp_path) == ([] if os.name == "posix" else [".lock"])


def test_who_waits_says_so_once_and_goes_on_when_the_lock_is_free(tmp_path, capsys):
    order = []

    def other():
        with locked(tmp_path / ".lock", waiting="waiting for it"):
            order.append("other")

    with locked(tmp_path / ".lock"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.35)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
    assert capsys.readouterr().err == "waiting for it\n"


def test_many_threads_are_never_inside_together(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(8):
            with locked(tmp_path / ".lock", waiting=""):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 32


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    hold = "import sys, time; from minires.files import locked\n"
    hold += "with locked(sys.argv[1]): print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / ".lock"], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    process.stdout.readline()
    with pytest.raises(BlockingIOError):
        with locked(tmp_path / ".lock"):
            pass
    process.kill()
    process.wait()
    with locked(tmp_path / ".lock"):
        pass


@needs_posix
@pytest.mark.parametrize(
    "plant",
    [
        lambda lock: os.mkfifo(lock),
        lambda lock: lock.mkdir(),
        lambda lock: lock.symlink_to("elsewhere"),
        lambda lock: lock.symlink_to(__file__),
    ],
    ids=["pipe", "folder", "dangling link", "link to a file"],
)
def test_a_lock_that_is_no_plain_file_is_refused_at_once(tmp_path, plant):
    plant(tmp_path / ".lock")
    with pytest.raises(OSError, match=r"\.lock: expected an empty file that serves as a lock, .* Remove it"):
        with locked(tmp_path / ".lock", waiting="never"):
            pass
    assert names(tmp_path) == [".lock"]


# -- the cache folder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "platform, variables, expected",
    [
        ("linux", {"HOME": "/home/a"}, "/home/a/.cache/minires/kernels"),
        ("darwin", {"HOME": "/home/a"}, "/home/a/Library/Caches/minires/kernels"),
        ("linux", {"HOME": "/home/a", "XDG_CACHE_HOME": "/fast"}, "/fast/minires/kernels"),
    ],
)
def test_the_cache_folder_is_where_the_system_keeps_such_things(monkeypatch, platform, variables, expected):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder("kernels") == Path(expected)


def test_without_a_home_there_is_no_cache_folder(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder() is None
