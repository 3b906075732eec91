import pytest

from broker.model.secret import Secret
from broker.providers import fields
from broker.providers.base import FormatError
from broker.providers.timestamps import Stamp, Unix


def test_a_name_has_three_spellings_and_a_single_word_one() -> None:
    assert fields.spellings("refresh_token") == ("refresh_token", "refreshToken", "refresh-token")
    assert fields.spellings("email") == ("email",)


def test_snake_case_wins_and_null_counts_as_missing() -> None:
    assert fields.get({"base-url": 1, "base_url": 2}, "base_url") == 2
    assert fields.get({"base_url": None, "base-url": 1}, "base_url") == 1
    assert fields.get({}, "base_url") is None


@pytest.mark.parametrize(
    ("document", "value"),
    [({"a": " x "}, "x"), ({"a": ""}, None), ({"a": None}, None), ({}, None), ({"a": " "}, None)],
)
def test_text(document: dict[str, object], value: str | None) -> None:
    assert fields.text(document, "a") == value


def test_a_blank_spelling_does_not_hide_the_next() -> None:
    assert fields.text({"access_token": "", "accessToken": "fake"}, "access_token") == "fake"
    assert fields.secret({"accessToken": "fake"}, "access_token") == Secret("fake")
    assert fields.secret({}, "access_token") is None


def test_text_of_another_type_is_a_fault_that_names_the_field_and_not_the_value() -> None:
    with pytest.raises(FormatError, match=r"^accessToken is not text$"):
        fields.text({"accessToken": 12345}, "access_token")


def test_a_hint_of_another_type_is_ignored() -> None:
    assert fields.hint({"label": " x "}, "label") == "x"
    assert fields.hint({"label": ["x"]}, "label") is None
    assert fields.hint({"label": " "}, "label") is None


@pytest.mark.parametrize("value", [True, 1, 0.5, "true", " YES ", "on", "1"])
def test_flags_that_say_yes(value: object) -> None:
    assert fields.flag({"disabled": value}, "disabled")


@pytest.mark.parametrize("value", [False, 0, "false", "", None, [], "0", {"a": 1}])
def test_flags_that_do_not(value: object) -> None:
    assert not fields.flag({"disabled": value}, "disabled")


@pytest.mark.parametrize(
    ("value", "words"),
    [("a b", ("a", "b")), ("a, b,c", ("a", "b", "c")), (["a", 5, "", "b"], ("a", "b")), (5, ()), (None, ()), ("", ())],
)
def test_lists_of_words(value: object, words: tuple[str, ...]) -> None:
    assert fields.words({"scopes": value}, "scopes") == words


def test_a_section_is_an_object() -> None:
    assert fields.section({"token": None, "Token": {"a": 1}}, "token", "Token") == {"a": 1}
    assert fields.section({}, "token") is None
    with pytest.raises(FormatError, match=r"^token is not an object$"):
        fields.section({"token": "fake"}, "token")


def test_the_first_field_with_a_time_counts() -> None:
    assert fields.stamp({"expired": "", "expiry": 1_777_630_830}, ("expired", "expiry")) == Stamp(
        1_777_630_830.0, Unix()
    )
    assert fields.stamp({"expired": "soon"}, ("expired",)) is None


def test_a_secret_is_put_into_every_spelling_there_is() -> None:
    target: dict[str, object] = {"access_token": "old", "accessToken": "old"}
    fields.put_secret(target, "access_token", Secret("fake-new"), add=True)
    assert target == {"access_token": "fake-new", "accessToken": "fake-new"}


def test_a_secret_is_added_only_where_asked() -> None:
    target: dict[str, object] = {}
    fields.put_secret(target, "access_token", Secret("fake-new"), add=False)
    assert target == {}
    fields.put_secret(target, "access_token", Secret("fake-new"), add=True)
    assert target == {"access_token": "fake-new"}


@pytest.mark.parametrize("nothing", [None, Secret("")])
def test_no_secret_blanks_nothing(nothing: Secret | None) -> None:
    target: dict[str, object] = {"refresh_token": "fake-old"}
    fields.put_secret(target, "refresh_token", nothing, add=True)
    assert target == {"refresh_token": "fake-old"}


def test_text_is_put_in_every_spelling_there_is_and_added_where_there_is_none() -> None:
    target: dict[str, object] = {"profileArn": "old", "profile-arn": None}
    fields.put_text(target, "profile_arn", "new")
    assert target == {"profileArn": "new", "profile-arn": "new"}
    fields.put_text(target, "api_url", "https://a")
    assert target["api_url"] == "https://a"


def test_times_keep_their_notation_and_borrow_it_where_they_had_none() -> None:
    target: dict[str, object] = {"expired": "", "expiry_date": 1_777_630_830_000}
    fields.put_stamp(target, ("expired", "expiry_date"), 1_777_630_831.0)
    assert target == {"expired": 1_777_630_831_000, "expiry_date": 1_777_630_831_000}


def test_an_unknown_time_becomes_null_where_there_was_one_and_is_not_added() -> None:
    target: dict[str, object] = {"expired": "2026-05-01T10:20:30Z"}
    fields.put_stamp(target, ("expired",), None, add="expired")
    assert target == {"expired": None}
    empty: dict[str, object] = {}
    fields.put_stamp(empty, ("expired",), None, add="expired")
    assert empty == {}
    fields.put_stamp(empty, ("expired",), 1_777_630_830.0)
    assert empty == {}
    fields.put_stamp(empty, ("expired",), 1_777_630_830.0, add="expired")
    assert empty == {"expired": "2026-05-01T10:20:30Z"}
