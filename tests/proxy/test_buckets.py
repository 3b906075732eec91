import os
import subprocess
import sys

import pytest

from broker.proxy.buckets import Buckets, shared_memory
from broker.proxy.keys import MAX_KEYS, LocalKey, digest_of


def key(name: str, slot: int = 0, rpm: int | None = 2) -> LocalKey:
    return LocalKey(name=name, sha256=digest_of(name), slot=slot, created=1, rpm=rpm)


@pytest.mark.parametrize("shared", [False, True])
def test_each_key_has_its_own_bucket(shared: bool) -> None:
    fd = shared_memory() if shared else None
    buckets = Buckets(fd)
    first, last = key("first"), key("last", MAX_KEYS - 1)
    assert [buckets.take(first, 100.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0)]
    assert buckets.take(last, 100.0) == 0.0
    assert buckets.take(first, 130.0) == 0.0
    assert all(buckets.take(key("free", 1, None), 100.0) == 0.0 for _ in range(100))
    buckets.close()
    if fd is not None:
        os.close(fd)


def test_a_new_key_in_an_old_one_s_place_begins_with_a_full_bucket() -> None:
    buckets = Buckets()
    for _ in range(3):
        buckets.take(key("old"), 100.0)
    assert buckets.take(key("new"), 100.0) == 0.0
    buckets.close()


def test_it_can_be_told_when_a_bucket_is_full() -> None:
    buckets = Buckets()
    assert buckets.until(key("old")) == 0.0
    buckets.take(key("old"), 100.0)
    assert buckets.until(key("old")) == 130.0
    assert buckets.until(key("new")) == 0.0
    buckets.close()


CHILD = """
import sys
from broker.proxy.buckets import Buckets
from broker.proxy.keys import LocalKey, digest_of
one = LocalKey(name="one", sha256=digest_of("one"), slot=3, created=1, rpm=1000)
buckets = Buckets(int(sys.argv[1]))
print(sum(buckets.take(one, 100.0) == 0.0 for _ in range(700)))
"""


def test_processes_count_together_and_exactly() -> None:
    fd = shared_memory()
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(fd)], pass_fds=(fd,), stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    taken = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(taken) == 1000
    os.close(fd)
