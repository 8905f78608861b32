"""Downloads over a bad line, from a server on this machine that cuts, stalls, alters and refuses on request."""

import hashlib
import os
import random
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minires.data import download
from minires.data.download import fetch, verify

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves ``content``; each request takes one entry of ``answers``, the last one again and again.

    An entry is a dict: ``cut`` (bytes of the body after which the line breaks), ``ranges`` (False: Range is ignored),
    ``status``, ``reason``, ``kind`` (content type), ``to`` (where it sends us on to), ``stall`` (seconds before the
    body), ``drip`` (seconds before each byte), ``head`` (seconds before each line of a head that does not end),
    ``chunk`` (seconds before each digit of the size of a chunk, which does not end), ``length`` (what is announced;
    False: nothing).
    """

    def __init__(self, content=CONTENT, answers=({},)):
        self.content, self.answers, self.asked = content, list(answers), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/archive.tar.gz"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, request):
        how = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and how.get("ranges", True) else 0
        if first >= len(self.content):
            request.send_response(416)
            request.end_headers()
            return
        body = self.content[first:]
        request.send_response(how.get("status", 206 if first else 200), how.get("reason"))
        if "to" in how:
            request.send_header("Location", how["to"])
        request.send_header("Content-Type", how.get("kind", "application/gzip"))
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        with suppress(OSError):  # the other side has gone
            while "head" in how:
                request.send_header("X-Again", "and again")
                request.flush_headers()
                time.sleep(how["head"])
            if "chunk" in how:
                request.send_header("Transfer-Encoding", "chunked")
                request.end_headers()
            while "chunk" in how:
                request.wfile.write(b"0")
                time.sleep(how["chunk"])
        if "head" in how or "chunk" in how:
            return
        length = how.get("length", True)
        if length:
            request.send_header("Content-Length", str(len(body) if length is True else length))
        request.end_headers()
        time.sleep(how.get("stall", 0))
        try:
            for byte in body[: how.get("cut", len(body))] if "drip" in how else ():
                time.sleep(how["drip"])
                request.wfile.write(bytes([byte]))
            request.wfile.write(body[: 0 if "drip" in how else how.get("cut", len(body))])
        except OSError:  # the other side has gone
            pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(*arguments, **options):
        servers.append(Server(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "archive.tar.gz"


def get(url, path, **options):
    return fetch(url, path, **{"size": len(CONTENT), "sha256": SHA256, "advice": "Or use synthetic.", **options})


def left(path):
    return sorted(p.name for p in path.parent.iterdir())


def test_a_file_arrives_whole(serve, path):
    assert get(serve().url, path) == path
    assert path.read_bytes() == CONTENT
    assert left(path) == ["archive.tar.gz"]


def test_a_cut_download_goes_on_where_it_stopped(serve, path):
    server = serve(answers=[{"cut": 100_000}, {"cut": 50_000}, {}])
    get(server.url, path)
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert path.read_bytes() == CONTENT


def test_what_arrived_is_kept_for_the_next_run_and_another_server(serve, path):
    bad = serve(answers=[{"cut": 110_000}, {"cut": 0}])
    with pytest.raises(ConnectionError, match=r"37% of archive.tar.gz \(0 MB\) is kept.*goes on from there.*synthetic"):
        get(bad.url, path)
    assert left(path) == ["archive.tar.gz.part"]
    assert len(bad.asked) == download.TRIES
    good = serve()
    get(good.url, path)
    assert good.asked == ["bytes=110000-"]
    assert path.read_bytes() == CONTENT


def test_many_cuts_do_not_end_a_download_that_advances(serve, path):
    server = serve(answers=[{"cut": 40_000}])
    get(server.url, path)
    assert len(server.asked) == 8
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("length", [True, False])
def test_a_server_that_ignores_range_loses_nothing(serve, path, length):
    first, second = {"cut": 200_000, "length": length}, {"cut": 90_000, "ranges": False, "length": length}
    server = serve(answers=[first, second])
    with pytest.raises(ConnectionError, match="67%"):
        get(server.url, path)
    assert path.with_name("archive.tar.gz.part").read_bytes() == CONTENT[:200_000]
    get(serve(answers=[{"ranges": False, "length": length}]).url, path)
    assert path.read_bytes() == CONTENT


def test_altered_bytes_are_set_aside_and_the_next_run_starts_anew(serve, path):
    altered = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    for bad in ("bad", "bad2"):
        with pytest.raises(ValueError, match=rf"expected SHA-256 {SHA256}, got .*altered.*archive.tar.gz.part.{bad}."):
            get(serve(altered).url, path)
    assert left(path) == ["archive.tar.gz.part.bad", "archive.tar.gz.part.bad2"]
    server = serve()
    get(server.url, path)
    assert server.asked == [None]


def test_a_file_of_another_size_is_refused_before_a_byte_is_read(serve, path):
    server = serve(CONTENT[:1000])
    with pytest.raises(ConnectionError, match="expected a file of 300,000 bytes, got an offer of 1,000 bytes"):
        get(server.url, path)
    assert not path.parent.exists()
    assert len(server.asked) == 1


def test_a_login_page_is_refused(serve, path):
    server = serve(b"<html>please log in</html>", answers=[{"kind": "text/html; charset=utf-8", "length": False}])
    with pytest.raises(ConnectionError, match="text/html"):
        get(server.url, path)
    assert not path.parent.exists()


def test_a_shorter_file_than_what_is_here_is_refused(serve, path):
    path.parent.mkdir()
    path.with_name("archive.tar.gz.part").write_bytes(CONTENT[:5000])
    with pytest.raises(ConnectionError, match="its file has fewer bytes than the 5,000 that are here"):
        get(serve(CONTENT[:1000]).url, path)
    assert path.with_name("archive.tar.gz.part").read_bytes() == CONTENT[:5000]


def test_a_missing_file_is_not_asked_for_again(serve, path):
    server = serve(answers=[{"status": 404}])
    with pytest.raises(ConnectionError, match="404 Not Found; nothing has arrived yet.*Or use synthetic"):
        get(server.url, path)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(serve, path):
    server = serve(answers=[{"status": 503}, {}])
    get(server.url, path)
    assert path.read_bytes() == CONTENT


def test_a_silent_server_times_out(serve, path):
    with pytest.raises(ConnectionError, match="timed out"):
        get(serve(answers=[{"stall": 0.5}]).url, path, timeout=0.05)


def test_no_server_at_all(serve, path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionError, match="refused; nothing has arrived yet.*Or use synthetic"):
        get(f"http://127.0.0.1:{port}/archive.tar.gz", path)


def test_an_overlong_part_is_set_aside(serve, path):
    path.parent.mkdir()
    path.with_name("archive.tar.gz.part").write_bytes(CONTENT + b"more")
    get(serve().url, path)
    assert path.read_bytes() == CONTENT
    assert left(path) == ["archive.tar.gz", "archive.tar.gz.part.bad"]


def test_of_several_at_once_one_downloads_and_the_others_wait(serve, path, capsys):
    server = serve(answers=[{"stall": 0.3}])
    threads = [threading.Thread(target=get, args=(server.url, path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [None]
    assert path.read_bytes() == CONTENT
    assert "another process is downloading" in capsys.readouterr().err


def test_a_file_that_is_there_is_only_checked(path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert get("https://nowhere.invalid/archive.tar.gz", path) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="expected 300,000 bytes, got 299,999. It is cut short"):
        get("https://nowhere.invalid/archive.tar.gz", path)


def test_ctrl_c_says_how_to_go_on(serve, path, monkeypatch, capsys):
    def interrupted(url, have, size, timeout):
        yield CONTENT[:150_000]
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get("https://nowhere.invalid/archive.tar.gz", path)
    assert "50% of archive.tar.gz (0 MB) is kept. The same command, run again" in capsys.readouterr().err
    assert path.with_name("archive.tar.gz.part").read_bytes() == CONTENT[:150_000]


@pytest.mark.parametrize("url", ["ftp://a/b", "/tmp/archive.tar.gz", "file:///etc/passwd"])
def test_an_address_of_another_kind_is_refused(path, url):
    with pytest.raises(ValueError, match="expected an address that begins with https://"):
        get(url, path)


def test_a_folder_that_cannot_be_written_names_the_way_out(serve, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write to .* Set MINIRES_DATA"):
        get(serve().url, tmp_path / "file" / "archive.tar.gz")


def test_a_full_disk_is_seen_before_the_download(serve, path, monkeypatch):
    usage = download.shutil.disk_usage("/")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage._replace(free=10))
    with pytest.raises(OSError, match="expected room for 0 MB"):
        get(serve().url, path)


def test_verify_accepts_the_right_file_only(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    verify(file, size=len(CONTENT), sha256=SHA256)
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(ValueError, match="altered"):
        verify(file, size=len(CONTENT), sha256=SHA256)


@pytest.mark.parametrize(
    "answer, message",
    [
        ({"status": 404}, "404 Not Found; nothing"),
        ({"status": 503}, "503 Service Unavailable; nothing"),
        ({"cut": 0}, "closed the connection; nothing"),
        ({"status": 302, "to": "ftp://127.0.0.1/archive.tar.gz"}, "sends us on to ftp://127.0.0.1/.* not on the web"),
        ({"status": 302, "to": "file:///etc/passwd"}, "302 .*file:///etc/passwd"),
        ({"status": 302, "to": "http://[::bad"}, r"not an address \(.*IPv6"),
        ({"status": 301, "to": "http://a b/"}, "; nothing has arrived"),
        ({"status": 302, "to": "http://" + 300 * "a" + "/"}, "; nothing has arrived"),
        ({"status": 302, "to": "/archive.tar.gz"}, "302 .*infinite loop"),
        ({"length": "-5"}, "nothing"),
        ({"length": str(10**30)}, "nothing"),
        ({"status": 404, "reason": "\x1b[31mred\x07"}, r"404 \?\[31mred\?; nothing"),
        ({"kind": "text/\x1b[31mhtml", "length": "7"}, r"an offer of 7 bytes of text/(plain|\?\[31mhtml)"),
    ],
)
def test_a_download_that_fails_leaves_nothing_behind(serve, path, answer, message):
    server = serve(answers=[answer | {"cut": 0}])
    with pytest.raises(ConnectionError, match=message) as caught:
        get(server.url, path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    assert list(path.parent.parent.iterdir()) == []


def test_a_folder_that_was_there_stays(serve, path):
    path.parent.mkdir()
    with pytest.raises(ConnectionError):
        get(serve(answers=[{"status": 404}]).url, path)
    assert left(path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "", "3e5", str(10**30)])
def test_an_announced_length_that_is_none_does_not_matter(serve, path, length):
    get(serve(answers=[{"length": length}]).url, path)
    assert path.read_bytes() == CONTENT and left(path) == ["archive.tar.gz"]


@pytest.mark.parametrize("url", ["http://[::bad", "https://a b/c", "http://", "https://" + 300 * "a"])
def test_an_address_that_is_none_is_told_in_one_line(serve, path, url):
    with pytest.raises(ConnectionError, match="nothing has arrived yet"):
        get(url, path)
    assert not path.parent.exists()


def test_a_server_that_sends_a_byte_per_connection_is_given_up(serve, path):
    server = serve(answers=[{"cut": 1}])
    with pytest.raises(ConnectionError, match="closed the connection; 0% of archive.tar.gz"):
        get(server.url, path)
    assert len(server.asked) == download.TRIES
    assert path.with_name("archive.tar.gz.part").read_bytes() == CONTENT[:3]


def test_a_server_that_drips_is_given_up(serve, path):
    server = serve(answers=[{"drip": 0.05}])
    with pytest.raises(ConnectionError, match="bytes in 0.3 s are too few"):
        get(server.url, path, timeout=0.3)
    assert len(server.asked) == download.TRIES


def test_a_server_whose_head_does_not_end_is_given_up(serve, path):
    server = serve(answers=[{"head": 0.05}])
    with pytest.raises(ConnectionError, match="no answer in 0.4 s; nothing has arrived yet"):
        get(server.url, path, timeout=0.1)
    assert len(server.asked) == download.TRIES and not path.parent.exists()


def test_a_server_whose_size_of_a_chunk_does_not_end_is_given_up(serve, path):
    server = serve(answers=[{"chunk": 0.05}])
    with pytest.raises(ConnectionError, match="no answer in 0.4 s; nothing has arrived yet"):
        get(server.url, path, timeout=0.1)
    assert len(server.asked) == download.TRIES and not path.parent.exists()


@pytest.mark.parametrize("end", ["part", "lock"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_somebody_planted_is_neither_written_through_nor_waited_for(serve, path, tmp_path, end, kind):
    path.parent.mkdir()
    victim, planted = tmp_path / "victim", path.with_name(f"archive.tar.gz.{end}")
    victim.write_text("precious")
    if kind == "link":
        planted.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    with pytest.raises(OSError, match=f"{end}: expected .* Remove it"):
        get(serve().url, path)
    assert victim.read_text() == "precious" and os.path.lexists(planted) and left(path) == [planted.name]
