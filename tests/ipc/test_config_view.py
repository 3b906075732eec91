from broker.ipc.config_view import ConfigSetting, ConfigView, ReloadAnswer
from broker.ipc.schema import decode, encode


def test_the_messages_survive_the_wire_with_values_of_any_kind() -> None:
    settings = tuple(
        ConfigSetting(key=f"a.b{number}", value=value, default=value, origin="file", line=3, pending=value)
        for number, value in enumerate((1, 1.5, True, None, "x", ["x"], {"a": ["b"]}))
    )
    view = ConfigView(file="/f", exists=True, generation="abc", loaded=1.0, settings=settings)
    assert decode(encode(view), ConfigView) == view
    answer = ReloadAnswer(generation="abc", changed=("a",), pending=("b",))
    assert decode(encode(answer), ReloadAnswer) == answer
