"""Every pure module has a test file of its own name, which alone covers it; shells are tested where they meet."""

import pytest

from tests.architecture.imports import ROOT, is_pure, modules

# module -> why it has no test file of its own. The list must shrink; an entry that is no longer needed fails.
WITHOUT: dict[str, str] = {
    "broker.model.clock": "protocols and one value",
    "broker.doctor.facts": "values",
    "broker.providers.base": "a protocol and values",
    "broker.store.base": "a protocol and values; tests/contract/store_contract.py runs it",
}


def twin(module: str) -> str:
    parts = module.split(".")[1:]
    return "/".join(["tests", *parts[:-1], f"test_{parts[-1].strip('_')}.py"])


MODULES = [name for name, path in modules().items() if path.name != "__init__.py" and is_pure(name)]


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_test_file(module: str) -> None:
    exists = (ROOT / twin(module)).exists()
    if module in WITHOUT:
        assert not exists, f"{module} has tests now: take it off the list"
    else:
        assert exists, f"{module} has no {twin(module)}"


def test_the_list_names_modules_that_exist() -> None:
    assert set(WITHOUT) <= set(MODULES)
