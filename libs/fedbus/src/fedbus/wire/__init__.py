"""What services say, where they say it, and in which bytes. Pure."""
