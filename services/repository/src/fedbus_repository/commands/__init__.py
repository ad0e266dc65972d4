"""Commands of `fedbus` that this package adds."""
