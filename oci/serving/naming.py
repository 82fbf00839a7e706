"""Which entry of index.json is which tag of which repository; the layout stays one that every tool reads.

=======================================  ==========================================================
`org.opencontainers.image.ref.name`      what it stands for
=======================================  ==========================================================
`REPOSITORY:TAG`                         that tag of that repository
`TAG`                                    that tag of the layout's own repository (see below)
anything else, or nothing                an untagged manifest of the repository that the annotation
                                         `ocikit.serve.repository` names, else of the own one
=======================================  ==========================================================

The own repository is what a layout's bare tags are in, so that a layout that other tools made can be served: it is
named by `--repository`, else after the layout's directory. A tag that is pushed to it is written bare as well.
"""

from __future__ import annotations

import os
import re

from oci.layout.refs import name_of
from oci.spec.annotations import REF_NAME, is_tag
from oci.spec.descriptor import Descriptor
from oci.spec.reference import is_repository

__all__ = ["REPOSITORY", "Place", "own_repository", "place_of", "tagged_entry", "untagged_entry"]

REPOSITORY = "ocikit.serve.repository"  # annotation of an entry without a tag, in index.json only
FALLBACK = "images"  # the own repository where the directory's name is no repository's

Place = tuple[str, str | None]  # repository, tag


def own_repository(path: str | os.PathLike[str]) -> str:
    """Give the name of the own repository of the layout in this directory."""
    name = os.path.basename(os.path.abspath(path)).lower()
    name = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return name if is_repository(name) else FALLBACK


def place_of(entry: Descriptor, own: str) -> Place:
    """Say which repository an entry is in, and under which tag."""
    name = name_of(entry)
    if name is not None:
        repository, colon, tag = name.rpartition(":")
        if colon and is_tag(tag) and is_repository(repository):
            return repository, tag
        if is_tag(name):
            return own, name
    named = entry.annotations.get(REPOSITORY, "")
    return (named if is_repository(named) else own), None


def tagged_entry(document: Descriptor, repository: str, tag: str, own: str) -> Descriptor:
    """Make the entry for a tag."""
    return document.replace(annotations={REF_NAME: tag if repository == own else f"{repository}:{tag}"})


def untagged_entry(document: Descriptor, repository: str) -> Descriptor:
    """Make the entry for a manifest that no tag leads to."""
    return document.replace(annotations={REPOSITORY: repository})
