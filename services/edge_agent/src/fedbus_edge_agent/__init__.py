"""Edge agent: training and evaluation on data that never leaves its device."""
