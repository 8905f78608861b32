"""The version of the installed package; pyproject.toml states it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("minires")
except PackageNotFoundError:
    VERSION = "(run from its source)"
