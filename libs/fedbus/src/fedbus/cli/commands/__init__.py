"""The commands of `fedbus`, one module each."""
