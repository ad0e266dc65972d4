"""Settings of the tools that all tests share."""

from hypothesis import settings

# How long an example takes says more about the machine than about what is tried.
settings.register_profile("fedbus", deadline=None)
settings.load_profile("fedbus")
