"""Pages as a parser reads them and as a real browser shows them: for the tests of ``minires report`` and ``trace``.

The browser is Chromium without a window, spoken to through a pipe in its DevTools protocol. What is asked of a page:
how wide it is on a given screen, whether its images are drawn, what it wants from the network, what it looks like.
"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import NamedTuple

from matplotlib.image import imread

VOID = {"meta", "img", "wbr", "link", "br"}


class Page(HTMLParser):
    """Reads a page and refuses one whose tags do not close in order; keeps tables, headings, images and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.headings, self.images, self.addresses, self.tags = [], {}, [], [], [], set()
        self._rows, self._caption, self._text = [], None, ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.addresses += [attributes[name] for name in ("src", "href", "srcset", "action") if name in attributes]
        self.addresses += re.findall(r"url\(([^)]*)\)", attributes.get("style", ""))
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], None
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td", "caption", "h1", "h2", "h3", "title"):
            self._text = ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("th", "td"):
            self._rows[-1].append(self._text)
        if tag == "caption":
            self._caption = self._text
        if tag == "table":
            assert self._caption
            self.tables[self._caption] = self._rows
        if tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), self._text))

    def handle_data(self, data):
        self._text += data

    def check(self):
        """What every page owes its reader."""
        levels = [level for level, _ in self.headings]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
        assert all(address.startswith(("data:image/", "#")) for address in self.addresses)
        assert all(image["alt"] for image in self.images) and "script" not in self.tags
        return self


# -- in a browser ------------------------------------------------------------------------------------------------

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
OPTIONS = ["--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe"]
START = """import os, sys
for place, end in zip((3, 4), sys.argv[1:3]):  # it reads commands from 3 and answers on 4
    os.dup2(int(end), place)
os.execv(sys.argv[3], sys.argv[3:])"""


class Seen(NamedTuple):
    """A page as one screen shows it."""

    width: int  # of the window
    page_width: int  # of the document; more than the window's means that it scrolls sideways
    broken: list  # alt texts of images that were not drawn
    images: int
    requests: list  # every address that was asked for, but the page itself and data held in it
    complaints: list  # of the browser, such as a broken policy
    screenshot: bytes  # PNG

    def pixels(self):
        """The screenshot as an array of 0 to 1."""
        return imread(io.BytesIO(self.screenshot))[..., :3]


def chromium():
    """The path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None) if os.name == "posix" else None


@contextmanager
def browser(folder):
    """Yield ``look(path, width, height, dark=False, whole=False)``, which opens a page and returns what is Seen.

    With ``whole`` the screenshot shows all of the page. ``folder`` is an empty one for the browser's own files.
    """
    import fcntl  # here: Windows has none

    (commands, to_browser), (from_browser, answers) = os.pipe(), os.pipe()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [chromium(), *OPTIONS, *sandbox, f"--user-data-dir={folder}", "about:blank"]
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]  # out of the way of 3 and 4
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, ends), *command], pass_fds=ends, stderr=subprocess.DEVNULL
    )
    for end in (commands, answers, *ends):
        os.close(end)
    too_long = threading.Timer(180, process.kill)
    too_long.start()
    with open(to_browser, "wb", buffering=0) as out, open(from_browser, "rb") as into:
        try:
            yield _Talk(out, into).look
        finally:
            too_long.cancel()
            process.terminate()
            process.wait(timeout=30)


class _Talk:
    def __init__(self, out, into):
        self.out, self.into, self.number, self.events = out, into, 0, []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self(f"{domain}.enable")

    session = None

    def __call__(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        self.out.write(json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self):
        text = bytearray()
        while (byte := self.into.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has gone away")
            text += byte
        return json.loads(text)

    def look(self, path, width, height, dark=False, whole=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        url = path.absolute().as_uri()
        self("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        images = self._value(
            "Promise.all([...document.images].map(i => i.decode().then(() => '', () => 'broken: ' + i.alt)))"
        )
        asked = [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        drawn = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return Seen(
            self._value("window.innerWidth"),
            self._value("document.documentElement.scrollWidth"),
            [text for text in images if text],
            len(images),
            [address for address in asked if address != url and not address.startswith("data:")],
            [event["params"]["entry"]["text"] for event in self._of("Log.entryAdded")],
            base64.b64decode(drawn["data"]),
        )

    def _of(self, method):
        return [event for event in self.events if event.get("method") == method]

    def _value(self, expression):
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return answer["result"]["value"]
