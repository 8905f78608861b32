"""A real browser without a window, for the tests of pages: Chromium, spoken to through a pipe in its DevTools protocol.

What is asked of a page: how wide it is on a given screen, whether its images are drawn, what it asked the network for,
what it looks like.
"""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
OPTIONS = ["--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe"]


class Seen(NamedTuple):
    """A page as one screen shows it."""

    width: int  # of the window
    page_width: int  # of the document; more than the window's means that it scrolls sideways
    broken: list  # alt texts of images that were not drawn
    images: int
    requests: list  # every address that was asked for, but the page itself and data held in it
    complaints: list  # of the browser, such as a broken policy
    screenshot: bytes  # PNG


def chromium():
    """The path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser(folder):
    """Yield ``look(path, width, height, dark=False, whole=False)``, which opens a page and returns what is Seen.

    With ``whole`` the screenshot shows all of the page. ``folder`` is an empty one for the browser's own files.
    """
    (commands, to_browser), (from_browser, answers) = os.pipe(), os.pipe()
    sandbox = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    command = [chromium(), *OPTIONS, *sandbox, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(  # it reads commands from 3 and answers on 4
        ["sh", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "sh", *command],
        pass_fds=(commands, answers),
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    with open(to_browser, "wb", buffering=0) as out, open(from_browser, "rb") as into:
        try:
            yield _Talk(out, into).look
        finally:
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
