from broker.cli.exits import EXIT_OF, MEANING, Exit
from broker.model.errors import TRAITS, ErrorCode


def test_every_error_has_an_exit_code() -> None:
    assert set(EXIT_OF) == set(ErrorCode)
    assert Exit.OK not in EXIT_OF.values()


def test_every_exit_code_is_explained() -> None:
    assert set(MEANING) == set(Exit)
    assert [int(each) for each in Exit] == [0, 1, 2, 3, 4, 5, 6, 130]


def test_a_login_is_asked_for_wherever_one_would_help() -> None:
    # The hint and the exit code must tell a person and a script the same thing.
    asked = {code for code, traits in TRAITS.items() if traits.hint == "Run: ccs-broker login PROVIDER"}
    assert asked == {code for code, ended in EXIT_OF.items() if ended is Exit.LOGIN_NEEDED}
