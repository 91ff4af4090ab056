"""Worked examples of tasks; each is a package that ``lab run`` and a real cart take as it is."""
