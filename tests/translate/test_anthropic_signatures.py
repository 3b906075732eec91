from broker.translate import anthropic_signatures


def test_a_mark_comes_off_again_and_only_that_of_anthropic():
    marked = anthropic_signatures.marked("EqQB+/==")
    assert anthropic_signatures.unmarked(marked) == "EqQB+/=="
    assert anthropic_signatures.unmarked("EqQB") is None
    assert anthropic_signatures.unmarked("openai.gAAA") is None
    assert anthropic_signatures.unmarked(None) is None


def test_google_gets_what_bears_no_mark():
    assert anthropic_signatures.of_google("CiQB+/==") == "CiQB+/=="
    assert anthropic_signatures.of_google(anthropic_signatures.marked("EqQB")) is None
    assert anthropic_signatures.of_google("openai.gAAA") is None
    assert anthropic_signatures.of_google(None) is None
