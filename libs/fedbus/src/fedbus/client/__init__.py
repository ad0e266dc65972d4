"""Client of a fedbus deployment, for programs, notebooks and the command line."""
