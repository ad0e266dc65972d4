"""Local training in a worker thread, and the files it leaves."""
