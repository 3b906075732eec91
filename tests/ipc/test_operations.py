import pytest

from broker.ipc.operations import OPERATIONS, Call, Name, allowed_methods, resolve
from broker.model.errors import BrokerError, ErrorCode


def code_of(method: str, target: str, *, control: bool = True) -> ErrorCode:
    with pytest.raises(BrokerError) as caught:
        resolve(method, target, control=control)
    return caught.value.code


@pytest.mark.parametrize(
    ("method", "target", "name", "path"),
    [
        ("GET", "/v1/health", Name.HEALTH, {}),
        ("GET", "/v1/lease/acme", Name.LEASE_DEFAULT, {"provider": "acme"}),
        ("GET", "/v1/lease/acme/a%40b.example", Name.LEASE, {"provider": "acme", "label": "a@b.example"}),
        ("GET", "/v1/accounts/acme/a%2Fb", Name.ACCOUNT, {"provider": "acme", "label": "a/b"}),
        ("DELETE", "/v1/accounts/acme/x", Name.LOGOUT, {"provider": "acme", "label": "x"}),
        ("POST", "/v1/accounts/acme/x/clear-cooldown", Name.CLEAR_COOLDOWN, {"provider": "acme", "label": "x"}),
        ("HEAD", "/v1/accounts", Name.ACCOUNTS, {}),
        ("GET", "/metrics", Name.METRICS, {}),
    ],
)
def test_a_request_line_finds_its_operation(method: str, target: str, name: Name, path: dict[str, str]) -> None:
    call = resolve(method, target, control=True)
    assert (call.operation.name, call.path) == (name, path)


@pytest.mark.parametrize(
    "target", ["/", "/v1", "/v1/lease", "/v1/lease/", "/v1/lease//x", "/v1/lease/a/b/c", "/v1/health/", "*", ""]
)
def test_other_paths_are_not_found(target: str) -> None:
    assert code_of("GET", target) is ErrorCode.NOT_FOUND


def test_the_token_socket_serves_no_control_operation() -> None:
    for operation in OPERATIONS:
        target = operation.path.format(provider="acme", label="x", id="L1")
        assert isinstance(resolve(operation.method, target, control=True), Call)
        if operation.control:
            shared = any(each.path == operation.path and not each.control for each in OPERATIONS)
            expected = ErrorCode.METHOD_NOT_ALLOWED if shared else ErrorCode.NOT_FOUND
            assert code_of(operation.method, target, control=False) is expected


def test_a_wrong_method_names_the_right_ones() -> None:
    assert code_of("PUT", "/v1/accounts/acme/x") is ErrorCode.METHOD_NOT_ALLOWED
    assert allowed_methods("/v1/accounts/acme/x?y=1", control=True) == ("DELETE", "GET", "HEAD")
    assert allowed_methods("/v1/accounts/acme/x", control=False) == ("GET", "HEAD")
    assert allowed_methods("/v1/report", control=False) == ("POST",)


def test_query_parameters_have_defaults() -> None:
    assert resolve("GET", "/v1/lease/acme", control=False).query == {"min_validity": 60.0, "max_wait": 10.0}
    assert resolve("GET", "/v1/lease/acme?max_wait=0&min_validity=1e3", control=False).query == {
        "min_validity": 1000.0,
        "max_wait": 0.0,
    }


@pytest.mark.parametrize(
    "query",
    [
        "max_wait=",
        "max_wait=x",
        "max_wait=-1",
        "max_wait=nan",
        "max_wait=inf",
        "min_valdity=60",
        "max_wait=1&max_wait=2",
    ],
)
def test_a_bad_query_names_the_parameter(query: str) -> None:
    with pytest.raises(BrokerError) as caught:
        resolve("GET", f"/v1/lease/acme?{query}", control=False)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert query.split("=", 1)[0] in caught.value.detail


def test_a_flag_is_true_or_false() -> None:
    target = "/v1/accounts/acme/x"
    assert resolve("DELETE", target, control=True).flags == frozenset()
    assert resolve("DELETE", f"{target}?keep_remote=false", control=True).flags == frozenset()
    assert resolve("DELETE", f"{target}?keep_remote=true", control=True).flags == {"keep_remote"}
    for bad in ("keep_remote=1", "keep_remote", "keep_remote=true&keep_remote=true"):
        assert code_of("DELETE", f"{target}?{bad}") is ErrorCode.BAD_REQUEST


def test_the_table_is_sound() -> None:
    assert {each.name for each in OPERATIONS} == set(Name)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)
    for each in OPERATIONS:
        assert all(name.isidentifier() for name in each.path_names)
        assert len(set(each.errors)) == len(each.errors)
