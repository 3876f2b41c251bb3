"""Files that one worker makes and all need, kept in a shared database, since hosts may share no disk.

A file's name contains the digests of all that it depends on (model and samples), so files of one name are
equal wherever they were made.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import sqlalchemy as sa

from autoprec.files import own_folder, replacing
from autoprec.store._database import Database
from autoprec.store._schema import ARTIFACTS

PART_BYTES = 8 << 20
"""Most bytes of a row: drivers hold several copies of a row in memory."""
LIMIT_BYTES = 512 << 20
"""Larger files are made again by each host: transferring them would take as long."""


class Artifacts:
    """The shared files of one study; without effect on a database that is not shared.

    Args:
        database: the study's.
        study: its name.
    """

    def __init__(self, database: Database, study: str) -> None:
        self._database, self._study = database, study

    def fetch(self, path: Path) -> bool:
        """Write the file of that name to `path` unless it exists; returns whether it exists now."""
        if path.is_file() or not self._database.is_shared:
            return path.is_file()
        where = (ARTIFACTS.c.study == self._study, ARTIFACTS.c.name == path.name)
        query = sa.select(ARTIFACTS.c.content).where(*where).order_by(ARTIFACTS.c.part)

        def write() -> bool:
            own_folder(path.parents[1], path.parent.name)
            with self._database.reading() as connection:
                contents = iter(connection.scalars(query))
                if (first := next(contents, None)) is None:
                    return False
                with replacing(path) as part, part.open("xb") as file:
                    file.writelines(chain((first,), contents))
            return True

        return self._database.patiently(write)

    def put(self, path: Path) -> None:
        """Store a file for other hosts, unless it is there or larger than `LIMIT_BYTES`."""
        if not self._database.is_shared or path.stat().st_size > LIMIT_BYTES:
            return
        key = {"study": self._study, "name": path.name}

        def write() -> None:
            with self._database.writing(self._study) as connection, path.open("rb") as file:
                if connection.scalar(sa.select(ARTIFACTS.c.part).filter_by(**key).limit(1)) is not None:
                    return
                for part, content in enumerate(iter(lambda: file.read(PART_BYTES), b"")):
                    connection.execute(sa.insert(ARTIFACTS).values(**key, part=part, content=content))

        self._database.patiently(write)
