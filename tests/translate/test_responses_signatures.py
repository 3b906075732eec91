from broker.translate.responses_signatures import is_marked, marked, unmarked


def test_only_openai_s_own_comes_back():
    assert unmarked(marked("AbC=")) == "AbC="
    assert is_marked(marked(""))
    assert unmarked("AbC=") is None
    assert unmarked(None) is None
