"""What the harness shares."""

import pytest

from tests.system.rotation.figures import Figure, teller


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    return teller(request)
