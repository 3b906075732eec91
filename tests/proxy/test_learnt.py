from broker.proxy.learnt import FAILED_SECONDS, FRESH_SECONDS, KEPT_SECONDS, Found, Learnt
from broker.proxy.models import Model

ONE, TWO, KEY = "openai-compatible/one", "openai-compatible/two", "openai-api/key"


def models(*names: str) -> tuple[Found, ...]:
    return tuple(Found(Model(name, name)) for name in names)


def book() -> Learnt:
    learnt = Learnt()
    learnt.put(ONE, "openai-compatible", models("a", "both"), 0.0)
    learnt.put(TWO, "openai-compatible", models("b", "both"), 0.0)
    learnt.put(KEY, "openai-api", models("both"), 0.0)
    return learnt


def test_who_has_a_model_and_who_lacks_it() -> None:
    learnt = book()
    assert learnt.providers("a") == ("openai-compatible",)
    assert learnt.providers("both") == ("openai-api", "openai-compatible")
    assert learnt.providers("c") == ()
    assert learnt.lacking("a", ["openai-compatible"]) == {TWO}
    assert learnt.lacking("both", ["openai-compatible", "openai-api"]) == frozenset()
    assert learnt.lacking("a", ["openai-api"]) == frozenset()
    assert learnt.lacking("c", ["openai-compatible"]) == frozenset()
    assert set(learnt.models()) == {ONE, TWO, KEY}


def test_a_list_holds_for_a_while_and_a_failure_for_a_shorter_one() -> None:
    learnt = book()
    assert learnt.due({ONE: "", "new/x": ""}, 1.0) == ("new/x",)
    assert learnt.due({ONE: ""}, KEPT_SECONDS) == (ONE,)
    assert learnt.due({ONE: ""}, FRESH_SECONDS, anew=True) == (ONE,)
    assert learnt.due({ONE: ""}, FRESH_SECONDS - 1, anew=True) == ()
    learnt.put(ONE, "openai-compatible", None, 10.0)
    assert learnt.due({ONE: ""}, 10.0 + FAILED_SECONDS) == (ONE,)
    assert learnt.providers("a") == ("openai-compatible",), "the last list stands"
    learnt.put("xai/x", "xai", None, 10.0)
    assert "xai/x" not in learnt.models()
    learnt.put("openai-compatible/c", "openai-compatible", None, 10.0)
    assert learnt.lacking("a", ["openai-compatible"]) == {TWO}, "of one that said nothing nothing is known"


def test_accounts_that_are_gone_are_forgotten() -> None:
    learnt = book()
    learnt.keep([ONE, TWO, KEY])
    learnt.keep([KEY])
    assert learnt.providers("both") == ("openai-api",)
    assert learnt.due({ONE: ""}, 1.0) == (ONE,)


def test_what_a_file_says_holds_until_it_says_otherwise() -> None:
    learnt = Learnt()
    assert learnt.due({ONE: "big,small"}, 0.0) == (ONE,)
    learnt.declare(ONE, "openai-compatible", "big,small,,big")
    assert [found.model.id for found in learnt.models()[ONE]] == ["big", "small"]
    learnt.declare(ONE, "openai-compatible", "big,small")
    assert learnt.due({ONE: "big,small"}, 9e9, anew=True) == ()
    assert learnt.due({ONE: "big"}, 0.0) == (ONE,)
    assert learnt.due({ONE: ""}, 0.0) == (ONE,)
    assert learnt.providers("big") == ("openai-compatible",)
