"""The controller accepts jobs, picks each round's agents and judges when to stop."""
