"""Figures a test prints at the end of the run, so that they can be quoted."""

from collections.abc import Callable, Sequence

import pytest

Figure = Callable[[str], None]
KEY = "figure"


def teller(request: pytest.FixtureRequest) -> Figure:
    """Return the way to tell a figure: the terminal summary shows it (tests/conftest.py)."""
    return lambda text: request.node.user_properties.append((KEY, text))


def share(values: Sequence[float], of: float) -> float:
    """Return the value below which the share `of` of `values` lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * of), len(ordered) - 1)]
