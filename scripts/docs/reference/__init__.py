"""The reference pages of the documentation, generated from the code at each build.

`commands.py` reads the command line, `definition.py` the study definition, `database.py` the store's tables;
the Python API comes from mkdocstrings. `scripts/docs/mkdocs_hook.py` puts the pages into the site.
"""
