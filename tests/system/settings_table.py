"""Which test shows that a setting changes what the program does (promise P8)."""

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def covers(*_keys: str) -> Callable[[F], F]:
    """Mark a test as the one that would fail if these settings did nothing; test_settings.py reads the marks from the source."""
    return lambda function: function
