"""Local training: parameters, labels and options of each framework."""
