"""What a long computation tells the person at the keyboard, who may have gone."""

import os
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from tqdm import tqdm

BAR = "{desc}: {percentage:3.0f}% |{bar:10}| {n_fmt}/{total_fmt} [{remaining} left{postfix}]"
FIRST, LONGEST = 10.0, 600.0  # seconds before the first line and between two; in between, each wait is twice as long


class Progress:
    """A bar on a terminal; elsewhere, as in a notebook or in the file of a nohup, a line now and then.

    Of ``total`` steps ``done`` were done before. ``shown=False`` says nothing; with ``leave`` the bar stays at the end.
    """

    def __init__(self, total, title, done=0, shown=True, leave=True):
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.total, self.title, self.done, self.first = total, title, done, done
        self.lines = shown and sys.stderr is not None and not terminal
        self.began, self.wait = time.monotonic(), FIRST
        self.next = self.began + FIRST
        disable = not (shown and terminal)
        self.bar = tqdm(total=total, initial=done, desc=title, bar_format=BAR, leave=leave, disable=disable)

    def update(self, words=""):
        """One more step is done; ``words`` say how it stands."""
        self.done += 1
        self.bar.set_postfix_str(words, refresh=False)
        self.bar.update()
        now = time.monotonic()
        if self.lines and now >= self.next and self.done < self.total:
            left = (now - self.began) * (self.total - self.done) / (self.done - self.first)
            how_long = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
            standing = f"{self.title}: {self.done:,} of {self.total:,}, {how_long} left{words and ', '}{words}"
            print(standing, file=sys.stderr, flush=True)
            self.wait = min(2 * self.wait, LONGEST)
            self.next = now + self.wait

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()


@contextmanager
def nobody_need_listen():
    """Within the ``with``, go on when whoever reads stdout or stderr has gone, such as ``head``, or never was there."""
    out, err = _Loose(sys.stdout), _Loose(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()


class _Loose:
    """A stream that drops what nobody can receive any more."""

    def __init__(self, stream):
        self.stream = stream if stream is not None else open(os.devnull, "w")

    def write(self, text):
        self._try(self.stream.write, text)
        return len(text)

    def flush(self):
        self._try(self.stream.flush)

    def _try(self, method, *arguments):
        try:
            method(*arguments)
        except UnicodeError:
            raise
        except BrokenPipeError:  # drop also what Python itself would still write at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        except ValueError:
            pass  # closed

    def __getattr__(self, name):
        return getattr(self.stream, name)
