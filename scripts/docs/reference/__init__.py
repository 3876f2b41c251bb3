"""The reference pages of the documentation, generated from the code at each build.

`commands.py` reads the command line, `definition.py` the study definition, `database.py` the store's tables,
`python_api.py` the public names, which mkdocstrings then describes. `scripts/docs/mkdocs_hook.py` puts the
pages into the site.
"""
