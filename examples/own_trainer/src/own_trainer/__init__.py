"""Example of a third-party package of plug-ins for fedbus."""
