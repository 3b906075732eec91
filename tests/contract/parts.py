"""What not every provider has, and the cases of a suite that are about it."""

from collections.abc import Callable
from enum import Enum, auto
from typing import ClassVar, TypeVar

Case = TypeVar("Case", bound=Callable[..., object])


class Part(Enum):
    """Something a provider may be without."""

    LOGIN = auto()
    CALLBACK = auto()  # a browser that comes back to this computer
    CODE = auto()
    DEVICE = auto()
    RENEWAL = auto()
    ROTATION = auto()
    QUOTA = auto()
    REVOCATION = auto()
    LINKED = auto()  # a program whose logins can be shared
    COPIED = auto()  # a program whose logins can only be copied


def about(*parts: Part) -> Callable[[Case], Case]:
    """Mark a case that only suites of providers with these parts have."""

    def marked(case: Case) -> Case:
        vars(case)["parts"] = frozenset(parts)
        return case

    return marked


class Parted:
    """A suite that says what its provider is without: the cases about it are not collected. The suite itself holds what is said to be true."""

    without: ClassVar[frozenset[Part]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in dir(cls):
            if cls.without & getattr(getattr(cls, name), "parts", frozenset()):
                setattr(cls, name, None)
