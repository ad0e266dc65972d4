"""Local training in the training thread, and the files that it leaves."""
