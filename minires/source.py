"""The package's own code, as the chapters of the book show it."""

import inspect
import re
import textwrap

LONG_DOCSTRING = re.compile(r'^ *r?"""(?:(?!""").)*\n(?:(?!""").)*"""\n', re.MULTILINE | re.DOTALL)


class _Shown(str):
    """Python text that a notebook shows in colours."""

    def _repr_markdown_(self):
        return f"```python\n{self}```"


def own_source(*functions):
    """Return the code of functions as this installation has it, without docstrings longer than a line."""
    code = "\n".join(textwrap.dedent(inspect.getsource(function)) for function in functions)
    return _Shown(LONG_DOCSTRING.sub("", code))
