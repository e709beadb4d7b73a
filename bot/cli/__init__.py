"""The command line's rooms: one file for each group of commands. ``bot.__main__`` puts them together."""
