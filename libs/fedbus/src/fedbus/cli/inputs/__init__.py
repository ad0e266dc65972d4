"""Input of the command: arguments, model files, data sets, job files."""
