"""The controller accepts jobs, selects each round's cohort and decides when to stop."""
