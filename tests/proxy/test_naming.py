import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Combo, Names, split_wish
from broker.model.told import ToldModel
from broker.proxy.catalog import Catalog
from broker.proxy.learnt import Found, Learnt
from broker.proxy.models import Model
from broker.proxy.naming import Goal, Served, Wanted, meaning
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS
from broker.translate.effort import split_suffix
from broker.translate.ir import Effort, Reasoning

KINDS = {"gemini": Kind.CODE_ASSIST, "gemini-api": Kind.GEMINI, "claude": Kind.ANTHROPIC}
SERVED = Served(KINDS, {"work", "claude"})


def read(name: str, names: Names | None = None) -> Wanted:
    return meaning(name, names or Names(), SERVED, lambda _: 0)


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("gemini-2.5-pro", Goal("gemini-2.5-pro", ("gemini", "gemini-api"))),
        ("models/gemini-2.5-pro", Goal("gemini-2.5-pro", ("gemini", "gemini-api"))),
        ("gemini/gemini-2.5-pro", Goal("gemini-2.5-pro", ("gemini",))),
        ("gemini-api/anything/at-all", Goal("anything/at-all", ("gemini-api",))),
        ("work/gemini-2.5-pro", Goal("gemini-2.5-pro", ("gemini", "gemini-api"), "work")),
        ("work/gemini-api/any", Goal("any", ("gemini-api",), "work")),
    ],
)
def test_names(name: str, goal: Goal) -> None:
    assert read(name) == Wanted(name.removeprefix("models/"), (goal,))


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("mystery-4o", ErrorCode.NOT_FOUND, "nothing here serves 'mystery-4o'"),
        ("openai/mystery-4o", ErrorCode.NOT_FOUND, "there are: claude, gemini, gemini-api, work"),
        ("gemini/", ErrorCode.NOT_FOUND, "names no model"),
        ("work/mystery", ErrorCode.NOT_FOUND, "nothing here serves 'mystery'"),
        ("work/openai/x", ErrorCode.NOT_FOUND, "nothing here serves"),
        ("", ErrorCode.NOT_FOUND, "nothing here"),
        (
            "claude/claude-opus-4-5",
            ErrorCode.BAD_REQUEST,
            "the provider claude and the accounts with the prefix claude",
        ),
    ],
)
def test_names_that_mean_nothing_or_two_things(name: str, code: ErrorCode, word: str) -> None:
    with pytest.raises(BrokerError, match=word) as caught:
        read(name)
    assert caught.value.code is code


def test_a_chain_comes_to_goals_each_once() -> None:
    names = Names({"pro": "gemini-2.5-pro"}, {"best": Combo(("claude-opus-4-5", "pro", "unknown/x", "gemini-2.5-pro"))})
    wanted = read("best", names)
    assert wanted.name == "best"
    assert wanted.own
    assert not read("gemini/x").own
    assert [goal.model for goal in wanted.goals] == ["claude-opus-4-5", "gemini-2.5-pro"]
    assert wanted.providers == ("claude", "gemini", "gemini-api")


def test_a_chain_of_which_nothing_is_served_says_why_for_the_first() -> None:
    with pytest.raises(BrokerError, match="'mystery-1'"):
        read("best", Names(combos={"best": Combo(("mystery-1", "mystery-2"))}))


LEARNT = Learnt()
for _name, _models in {"one": ("llama", "meta/llama"), "two": ("other",)}.items():
    LEARNT.put(f"openai-compatible/{_name}", "openai-compatible", tuple(Found(Model(m, m)) for m in _models), 0.0)
LEARNT.put("claude-like/x", "anthropic-compatible", (Found(Model("claude-opus-4-5", "Opus")),), 0.0)
LEARNT.put("kiro/x", "kiro", (Found(Model("gemini-9-thinking", "Nine")), Found(Model("gemini-2.5-pro", "Pro"))), 0.0)
CATALOG = Catalog({"mine": ToldModel(providers=("kimi",))})


@pytest.mark.parametrize(
    ("name", "model", "providers", "without"),
    [
        ("mine", "mine", ("kimi",), ()),
        ("work/mine", "mine", ("kimi",), ()),
        ("llama", "llama", ("openai-compatible",), ("openai-compatible/two",)),
        ("meta/llama", "meta/llama", ("openai-compatible",), ("openai-compatible/two",)),
        ("openai-compatible/llama", "llama", ("openai-compatible",), ("openai-compatible/two",)),
        ("openai-compatible/unheard-of", "unheard-of", ("openai-compatible",), ()),
        ("claude-opus-4-5", "claude-opus-4-5", ("anthropic-compatible",), ()),
        ("grok-4", "grok-4", ("xai",), ()),
        ("gemini-9-thinking", "gemini-9-thinking", ("gemini", "antigravity", "gemini-api", "vertex", "kiro"), ()),
        ("gemini-2.5-pro", "gemini-2.5-pro", ("gemini", "gemini-api", "vertex"), ()),
    ],
)
def test_what_the_config_and_the_accounts_say(
    name: str, model: str, providers: tuple[str, ...], without: tuple[str, ...]
) -> None:
    served = Served(PROVIDERS, {"work"}, {"gemini", "openai-compatible", "anthropic-compatible"}, CATALOG, LEARNT)
    (goal,) = meaning(name, Names(), served, lambda _: 0).goals
    assert (goal.model, goal.providers, goal.without) == (model, providers, frozenset(without))


def test_a_name_that_fits_two_tables_names_them() -> None:
    served = Served(PROVIDERS, catalog=Catalog({"a-*": ToldModel(), "*-b": ToldModel()}))
    with pytest.raises(BrokerError, match=r"\*-b and a-\* equally well"):
        meaning("a-b", Names(), served, lambda _: 0)


def test_the_users_own_name_may_say_how_hard_to_think() -> None:
    names = Names({"hard": "gemini/gemini-2.5-pro(high)", "easy-*": "gemini-*(none)"})
    goal = read("hard", names).goals[0]
    assert (goal.model, goal.providers, goal.wish) == ("gemini-2.5-pro", ("gemini",), Reasoning(effort=Effort.HIGH))
    goal = read("easy-2.5-pro", names).goals[0]
    assert (goal.model, goal.wish) == ("gemini-2.5-pro", Reasoning(effort=Effort.NONE))


@pytest.mark.parametrize(
    "told", [*Effort, "HIGH", " low ", "0", "-1", "-12345678", "123456789", "1234567890", "-123456789", "x", ""]
)
def test_the_users_names_read_suffixes_as_everybody_does(told: str) -> None:
    name = f"m({told})"
    assert (split_wish(name)[0] == "m") is (split_suffix(name)[1] is not None)
