"""What all tests share: examples of properties have no time limit, since a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("broker", deadline=None)
settings.load_profile("broker")
