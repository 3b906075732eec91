"""The file store in sealed mode passes the suite of every store."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.store.reading import SEALED_KEY, Opened
from broker.store.seal import AeadSeal
from broker.store.store import Seal
from tests.contract.store_contract import Harness, StoreContract
from tests.fakes.disk import FileHarness
from tests.store.test_seal import KEY, nonces


class SealedHarness(FileHarness):
    seal: Callable[[], Seal] | None = staticmethod(lambda: AeadSeal(KEY, nonces()))

    def plain(self, path: Path) -> dict[str, object]:
        document: dict[str, object] = json.loads(path.read_text())
        if SEALED_KEY not in document:
            return document
        opened = AeadSeal(KEY, nonces()).open_file(document, path.name)
        assert isinstance(opened, Opened)
        inner: dict[str, object] = json.loads(opened.data)
        return inner


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return SealedHarness(tmp_path)


class TestSealedFileStore(StoreContract):
    pass
