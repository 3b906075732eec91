"""No setting without a test through the real program (promise P8)."""

import ast
from pathlib import Path

import msgspec

from broker.config import Config, ProviderConfig, UpstreamConfig
from broker.model.naming import Combo
from broker.model.policy import Policy
from broker.model.told import ToldModel

NAMED = {
    "providers": ProviderConfig,
    "upstreams": UpstreamConfig,
    "combos": Combo,
    "policies": Policy,
    "models": ToldModel,
}


def all_settings() -> set[str]:
    keys = set()
    for section in msgspec.structs.fields(Config):
        table = NAMED.get(section.name) or type(getattr(Config(), section.name))
        keys |= {f"{section.name}.{field.name}" for field in msgspec.structs.fields(table)}
    return keys


def covered_settings() -> list[str]:
    found: list[str] = []
    for path in sorted(Path(__file__).parent.glob("test_settings_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "covers":
                found += [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    return found


def test_every_setting_has_its_test() -> None:
    covered = covered_settings()
    assert len(covered) == len(set(covered)), "a setting is covered twice"
    assert set(covered) == all_settings()
