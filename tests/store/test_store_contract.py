"""The file store passes the suite of every store."""

from pathlib import Path

import pytest

from tests.contract.store_contract import Harness, StoreContract
from tests.fakes.disk import FileHarness


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return FileHarness(tmp_path)


class TestPlainFileStore(StoreContract):
    pass
