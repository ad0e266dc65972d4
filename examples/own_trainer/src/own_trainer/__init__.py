"""Plug-ins for fedbus that fedbus knows nothing of."""
