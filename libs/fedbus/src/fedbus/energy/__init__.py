"""Energy that nodes use, and its CO2: estimated from processor time and bytes, added up by job."""
