from broker.translate.ir import Thinking
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer
from broker.translate.thoughts import Gathering, recall, remember

SIGNED = (Thinking("hm", "anthropic.s"), Thinking("", None, "anthropic.zzz"))


def test_thoughts_are_known_by_the_call_they_led_to_and_to_whoever_thought_them():
    memory = SignatureMemory()
    remember(memory, Signer.ANTHROPIC, "c", SIGNED)
    remember(memory, Signer.ANTHROPIC, "none", [])
    assert recall(memory, Signer.ANTHROPIC, "c") == SIGNED
    assert recall(memory, Signer.CHAT, "c") == recall(memory, Signer.ANTHROPIC, "none") == ()


def test_a_thought_ends_with_its_signature():
    thoughts = Gathering()
    thoughts.add("h")
    thoughts.add("m")
    thoughts.add("", "anthropic.s")
    thoughts.add("", redacted="anthropic.zzz")
    thoughts.add("lost")
    assert thoughts.signed() == list(SIGNED)
    assert thoughts.signed() == []


def test_words_alone_are_one_thought():
    thoughts = Gathering()
    thoughts.add("h", "s")
    thoughts.add("m")
    assert thoughts.said() == [Thinking("hm")]
    assert thoughts.said() == []
