"""Pages of models."""

import pytest

from broker.sandbox import models
from broker.sandbox.rpc import RpcError

KNOWN = [f"gemini-{n}" for n in range(7)]


@pytest.mark.parametrize("size", ["1", "3", "7", "50", None, "0", "5000"])
def test_pages_put_together_are_the_list(size):
    names: list[str] = []
    token: str | None = None
    while True:
        page = models.listed(KNOWN, size, token)
        names += [entry["baseModelId"] for entry in page["models"]]
        token = page.get("nextPageToken")
        if token is None:
            break
    assert names == KNOWN


@pytest.mark.parametrize(("size", "token"), [("x", None), ("-1", None), ("1", "²"), ("1", "9" * 10)])
def test_sizes_and_tokens_are_numbers(size, token):
    with pytest.raises(RpcError, check=lambda e: e.code == 400):
        models.listed(KNOWN, size, token)


def test_unknown_models_are_not_found():
    models.check(KNOWN, "gemini-1")
    with pytest.raises(RpcError, check=lambda e: e.code == 404):
        models.check(KNOWN, "gemini-9")
    assert models.described("gemini-2.5-flash-lite")["thinking"] is False
