"""`store info|df|check|prune`: the local store itself."""

from __future__ import annotations

from collections.abc import Sequence

from oci.cli import options, output
from oci.cli.failures import FAILED
from oci.cli.lazily import Annotated, Any, typer
from oci.cli.session import Session
from oci.cli.storing import open_store, store_root
from oci.spec.reference import familiar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.containers import ContainerRow
    from oci.storage.finding import Finding
    from oci.storage.prune import Pruned
    from oci.storage.repair import Repair
    from oci.storage.store import Store
    from oci.storage.usage import Usage

__all__ = ["check", "df", "info", "prune", "store"]


def store() -> None:
    """Look at the local store, check and mend it, and remove what nothing needs.

    It is one folder (--root) with images, their layers unpacked once, containers and volumes. `docs/store.md` tells
    what lies where, and every fault that `check` can find.

    \b
    Example:
      ocikit store df
      ocikit store check --repair
      ocikit store prune --dry-run
    """


def info(context: typer.Context, json: options.Json = False) -> None:
    """Show where the store is, which storage driver it uses, and why not the others.

    \b
    Example:
      ocikit store info
      ocikit --root /srv/ocikit store info --json
    """
    session = Session.of(context)
    with open_store(session, namespace=True, needed=False) as opened:
        facts = _facts(opened)
    if json:
        output.document(facts)
        return
    counts = facts["containers"]
    output.facts(
        [
            ("Root", facts["root"]),
            ("Driver", facts["driver"]),
            ("Layer form", facts["form"]),
            *(
                (f"  {name}", said["reason"] if said["usable"] else f"doesn't work: {said['reason']}")
                for name, said in facts["drivers"].items()
            ),
            ("Images", str(facts["images"])),
            ("Layers", str(facts["layers"])),
            ("Containers", f"{counts['total']} ({counts['running']} running)"),
            ("Volumes", str(facts["volumes"])),
        ]
    )


def _facts(opened: Store) -> dict[str, Any]:
    rows = opened.containers.list()
    (layers,) = opened.state.one("SELECT count(*) FROM layers") or (0,)
    choice = opened.choice
    return {
        "root": opened.root,
        "driver": choice.driver.name,
        "form": opened.layers.form,
        "drivers": {
            name: {"usable": support.usable, "reason": support.reason} for name, support in choice.supports.items()
        },
        "images": len({entry.digest for entry in opened.images.index().model.manifests}),
        "layers": layers,
        "containers": {"total": len(rows), "running": sum(row.status == "running" for row in rows)},
        "volumes": len(opened.volumes.list()),
    }


def df(context: typer.Context, json: options.Json = False) -> None:
    """Show where the store's bytes are, and what `store prune` would free.

    For each image what it shares with others and what is its own (blobs, and folders of its layers), for each
    container its writable layer, for each volume its data. In the totals everything is counted once.

    \b
    Example:
      ocikit store df
      ocikit store df --json
    """
    from oci.storage.usage import df as add_up

    session = Session.of(context)
    with open_store(session, namespace=True, needed=False) as opened:
        usage = add_up(opened)
    if json:
        output.document(_usage_json(store_root(session), usage))
    else:
        _print_usage(usage)


def _usage_json(root: str, usage: Usage) -> dict[str, Any]:
    return {
        "root": root,
        "images": [
            {
                "id": image.id,
                "names": list(image.names),
                "size": image.size,
                "shared": image.shared,
                "own": image.own,
                "folders": image.folders,
                "containers": list(image.containers),
            }
            for image in usage.images
        ],
        "containers": [
            {"id": one.id, "name": one.name, "image": one.image, "size": one.size, "status": one.status}
            for one in usage.containers
        ],
        "volumes": [
            {"name": one.name, "size": one.size, "users": list(one.users), "anonymous": one.anonymous}
            for one in usage.volumes
        ],
        "totals": {
            "layers": usage.layers,
            "blobs": usage.blobs,
            "containers": sum(one.size for one in usage.containers),
            "volumes": sum(one.size for one in usage.volumes),
            "all": usage.total,
        },
        "reclaimable": {"prune": usage.prune, "all": usage.prune_all},
    }


def _print_usage(usage: Usage) -> None:
    output.table(
        ["IMAGE", "ID", "SIZE", "SHARED", "OWN", "CONTAINERS"],
        [
            [
                ", ".join(map(familiar, image.names)) or "<none>",
                output.short_id(image.id),
                output.size(image.size),
                output.size(image.shared),
                output.size(image.own),
                str(len(image.containers)),
            ]
            for image in usage.images
        ],
        right=[2, 3, 4, 5],
    )
    if usage.containers:
        print()
        output.table(
            ["CONTAINER", "IMAGE", "STATUS", "WRITABLE LAYER"],
            [[one.name, _shown(one.image), one.status, output.size(one.size)] for one in usage.containers],
            right=[3],
        )
    if usage.volumes:
        print()
        output.table(
            ["VOLUME", "SIZE", "USED BY"],
            [[one.name, output.size(one.size), ", ".join(one.users) or "-"] for one in usage.volumes],
            right=[1],
        )
    print()
    output.facts(
        [
            ("Layer folders", output.size(usage.layers)),
            ("Blobs", output.size(usage.blobs)),
            ("Writable layers", output.size(sum(one.size for one in usage.containers))),
            ("Volumes", output.size(sum(one.size for one in usage.volumes))),
            ("Total", output.size(usage.total)),
            ("Prune would free", f"{output.size(usage.prune)} ({output.size(usage.prune_all)} with --all --volumes)"),
        ]
    )


def _shown(name: str) -> str:
    """An image by its name; one without a name by its ID."""
    return output.short_id(name) if name.startswith("sha256:") else familiar(name)


def check(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every blob, and hold every file of a layer against its tar.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Look for everything that is wrong with the store; the exit status is 1 when something is, and stays so.

    What crashes, full disks and people leave: half-made and half-removed things, rows and folders without each other,
    stale mounts, dead containers shown as running, missing and damaged blobs. With --repair all of it is mended that
    can be; what containers and volumes hold is never lost.

    \b
    Example:
      ocikit store check
      ocikit store check --deep --repair
    """
    from oci.storage.check import check as look
    from oci.storage.repair import check_and_repair, opened

    session = Session.of(context)
    with opened(lambda: open_store(session, namespace=True, needed=False, create=False), mend=repair) as (
        store_,
        before,
    ):
        answers, findings = list(before), [answer.finding for answer in before]
        if store_ is not None:
            with session.progress("checking") as progress:
                if repair:
                    answers += check_and_repair(store_, deep=deep, progress=progress)
                else:
                    findings += look(store_, deep=deep, progress=progress)
    wrong = any(not answer.done for answer in answers) if repair else bool(findings)
    if json:
        listed = [answer.to_json() for answer in answers] if repair else [finding.to_json() for finding in findings]
        output.document({"ok": not wrong, "deep": deep, "findings": listed})
    else:
        _print_check(session, findings, answers, repair)
    if wrong:
        raise typer.Exit(FAILED)


def _print_check(session: Session, findings: Sequence[Finding], answers: Sequence[Repair], repair: bool) -> None:
    if repair:
        for answer in answers:
            finding, outcome = answer.finding, "mended" if answer.done else "NOT mended"
            print(output.printable(f"{finding.code}  {finding.where}: {finding.message}; {outcome}: {answer.message}"))
    else:
        for finding in findings:
            print(output.printable(f"{finding.code}  {finding.where}: {finding.message}"))
    if not findings and not answers:
        session.note("ok: nothing is wrong")
    elif not repair and any(finding.repairable for finding in findings):
        session.note("`ocikit store check --repair` mends what can be mended")


def prune(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All images that no container uses.")] = False,
    volumes: Annotated[bool, typer.Option("--volumes", help="Unused anonymous volumes, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", hidden=True, help="Nothing is asked anyway.")] = False,
    json: options.Json = False,
) -> None:
    """Remove what nothing needs: stopped containers, images without a name, unused layers, leftovers.

    With --all every image that no container uses. A volume that has a name is never removed here: `volume prune --all`
    or `volume rm` do that.

    \b
    Example:
      ocikit store prune --dry-run
      ocikit store prune --all --volumes
    """
    from oci.container.container import Container
    from oci.container.lifecycle import remove
    from oci.container.status import status
    from oci.storage.prune import prune as remove_unneeded

    session = Session.of(context)
    with open_store(session, namespace=True, needed=False) as opened:
        status(opened)  # a container that died without a word is a stopped one

        def remove_container(row: ContainerRow) -> None:
            remove(Container(opened, row), volumes=False)

        gone = remove_unneeded(
            opened, everything=everything, volumes=volumes, dry_run=dry_run, remove_container=remove_container
        )
    if json:
        output.document(_pruned_json(gone, dry_run))
        return
    verb = "would delete" if dry_run else "deleted"
    for kind, names in _kinds(gone):
        for name in names:
            print(output.printable(f"{verb} {kind} {name}"))
    session.note(f"{'would free' if dry_run else 'freed'} {output.size(gone.freed)}")


def _kinds(gone: Pruned) -> list[tuple[str, Sequence[str]]]:
    return [
        ("container", gone.containers),
        ("image", [_shown(name) for name in gone.images]),
        ("layer", [name[:18] for name in gone.layers]),
        ("blob", gone.blobs),
        ("volume", gone.volumes),
        ("leftover", gone.leftovers),
    ]


def _pruned_json(gone: Pruned, dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": dry_run,
        "containers": list(gone.containers),
        "images": list(gone.images),
        "layers": list(gone.layers),
        "blobs": list(gone.blobs),
        "volumes": list(gone.volumes),
        "leftovers": list(gone.leftovers),
        "freed": gone.freed,
    }
