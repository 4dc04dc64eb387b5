"""What the files beside a database say: the mark, the generations, the environment.

Law: they only ever say "look again" or "this is an older copy", so damage in them loses nothing.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from msgspec import Struct

from stigg_local.store.digest import META, row_digest
from stigg_local.store.environment import FILENAME as ENVIRONMENT
from stigg_local.store.examine_directory import GENERATION, MARK
from stigg_local.store.finding import Findings, opening, removing
from stigg_local.store.generation import IN_FLIGHT, SIZE_BYTES, UNIQUE

_MARK_HEAD = struct.Struct("<8s32sQ8sQQ")


class Mark(Struct, frozen=True):
    """What the mark beside the database remembers; `file_id` empty where it is damaged."""

    file_id: str
    epoch: int
    seq: int
    is_suspect: bool


class Generations(NamedTuple):
    """What the file of generations shows: the highest transaction number, and how many slots are in flight."""

    seq_max: int
    in_flight: int


class Side(Struct, frozen=True, kw_only=True):
    """All of it; None for what is not there or damaged."""

    mark: Mark | None
    generations: Generations | None
    environment: str | None


def examine_side(directory: str, contents: dict[str, bytes], findings: Findings) -> Side:
    """Read the files' contents.

    Args:
        directory: Where they lie.
        contents: By name; what is not there is left out.
    """
    return Side(
        mark=_mark(contents.get(MARK), directory, findings),
        generations=_generations(contents.get(GENERATION), directory, findings),
        environment=_environment(contents.get(ENVIRONMENT), directory, findings),
    )


def _mark(content: bytes | None, directory: str, findings: Findings) -> Mark | None:
    if content is None:
        return None
    if len(content) == _MARK_HEAD.size:
        magic, identity, epoch, digest, seq, suspect = _MARK_HEAD.unpack(content)
        file_id = identity.rstrip(b"\0").decode("ascii", "replace")
        if magic == b"stiggmk1" and digest == row_digest("", file_id, (META, epoch)):
            return Mark(file_id, epoch, seq, suspect != 0)
    findings.add(
        "MarkDamaged",
        "warning",
        "the file that remembers which database is here is damaged",
        where=os.path.join(directory, MARK),
        hint=f"{opening(directory)} begins a new epoch and writes the file anew",
    )
    return Mark("", 0, 0, False)


def _generations(content: bytes | None, directory: str, findings: Findings) -> Generations | None:
    if content is None:
        return None
    if len(content) != SIZE_BYTES:
        findings.add(
            "GenerationDamaged",
            "warning",
            f"the file of generations has {len(content):,} bytes instead of {SIZE_BYTES:,}",
            where=os.path.join(directory, GENERATION),
            hint=f"{removing(directory, GENERATION)}; the next one makes it anew",
        )
        return None
    slots = memoryview(content).cast("Q")
    return Generations(
        max((value for value in slots if value < UNIQUE), default=0), sum(value >= IN_FLIGHT for value in slots)
    )


def _environment(content: bytes | None, directory: str, findings: Findings) -> str | None:
    if content is None:
        return None
    name = content.decode(errors="replace").rpartition(" ")[0]
    if content != f"{name} {row_digest('', name, (META, ENVIRONMENT)).hex()}\n".encode():
        findings.add(
            "EnvironmentDamaged",
            "warning",
            "the file that names the environment is damaged",
            where=os.path.join(directory, ENVIRONMENT),
            hint=f"{removing(directory, ENVIRONMENT)}; the next one writes it anew",
        )
        return None
    return name
