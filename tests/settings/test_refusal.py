from broker.model.errors import ErrorCode, SettingError
from broker.settings.refusal import ConfigError, Located, located


def test_a_fault_is_said_with_its_place() -> None:
    assert Located("is odd", 3, key=("a", "b c")).said("f.toml") == 'f.toml:3: a."b c": is odd'
    assert Located("no value", 3, 9).said("f.toml") == "f.toml:3:9: no value"
    assert Located("no such file").said("f.toml") == "f.toml: no such file"


def test_the_first_of_the_file_is_told_and_the_others_counted() -> None:
    error = ConfigError("f", (Located("b", 7), Located("a", 2), Located("c", 9)))
    assert error.detail == "f:2: a (2 more: ccs-broker config check)"
    assert [fault.text for fault in error.faults] == ["a", "b", "c"]
    assert error.code is ErrorCode.BAD_REQUEST
    assert ConfigError("f", (Located("a", 2),)).detail == "f:2: a"


def test_what_a_part_says_of_a_setting_gets_its_place() -> None:
    error = SettingError(("providers", "x", "options"), "there is no 'y'")
    assert error.detail == "providers.x.options: there is no 'y'"
    told = located(error, "f", {("providers", "x"): 4})
    assert told.detail == "f:4: providers.x.options: there is no 'y'"
