"""Output of the command: tables, job views, units."""
