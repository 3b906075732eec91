"""Signatures are kept for a while, the unused ones go first."""

from broker.translate.signatures import SignatureMemory


def test_the_one_unused_for_longest_goes_first():
    memory = SignatureMemory(capacity=2)
    memory.remember("a", "1")
    memory.remember("b", "2")
    assert memory.recall("a") == "1"
    memory.remember("c", "3")
    assert memory.recall("b") is None
    assert (memory.recall("a"), memory.recall("c"), len(memory)) == ("1", "3", 2)


def test_remembering_again_replaces_and_renews():
    memory = SignatureMemory(capacity=2)
    memory.remember("a", "1")
    memory.remember("b", "2")
    memory.remember("a", "9")
    memory.remember("c", "3")
    assert (memory.recall("a"), memory.recall("b")) == ("9", None)


def test_what_is_long_leaves_room_for_less():
    memory = SignatureMemory(most=10)
    memory.remember("a", "1" * 4)
    memory.remember("b", "2" * 4)
    memory.remember("b", "3" * 6)
    assert (memory.recall("a"), memory.recall("b")) == ("1" * 4, "3" * 6)
    memory.remember("c", "4")
    assert (memory.recall("a"), len(memory)) == (None, 2)
    memory.remember("d", "5" * 11)
    assert len(memory) == 0
