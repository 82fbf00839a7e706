"""Run the benchmarks side by side with peers and print one Markdown table: `make bench`.

Each row is a job of ocikit's against what people would use otherwise, in one run on one machine; the figure that counts
is the ratio (ours / theirs, median of the pairs). Options: `--rounds N`, `--only WORD`, `--work DIR`, `--cache DIR`.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from benchmarks import containers, registry
from benchmarks.images import debian_image, layer_paths, synthetic_image
from benchmarks.timing import Command, Pairing, pair, run_once, shell

BIN = Path(sys.executable).parent
OCIKIT = str(BIN / "ocikit")
Row = tuple[str, str, str, str, str]


class Bench:
    """The work folder and the settings of one run."""

    def __init__(self, *, work: Path, cache: Path, rounds: int) -> None:
        self.work, self.cache, self.rounds = work, cache, rounds
        self.out = work / "out"

    def clean(self) -> None:
        if self.out.exists():
            shutil.rmtree(self.out)

    def emptying(self, server: registry.Registry) -> Callable[[], None]:
        """What comes before a push: nothing is left of the one before."""

        def prepare() -> None:
            self.clean()
            server.empty()

        return prepare

    def against(self, ours: Command, theirs: Command, *, rounds: int | None = None) -> Pairing:
        result = pair(ours, theirs, rounds=rounds or self.rounds, before=self.clean)
        self.clean()
        return result

    def tree(self) -> Path:
        """The real image's files as a plain tree, made once."""
        tree = self.work / "tree"
        if not tree.exists():
            tree.mkdir()
            for layer in layer_paths(debian_image(self.work, self.cache)):
                run_once(shell(f"igzip -dc {layer} | tar x -C {tree}"))
            run_once(shell(f"find {tree} -name '.wh.*' -delete"))
        return tree


def row(job: str, peer: str, reach: str, result: Pairing, note: str = "") -> Row:
    ours = statistics.median(run.wall for run in result.ours)
    theirs = statistics.median(run.wall for run in result.theirs)
    peak = max(run.peak_mib for run in result.ours)
    ratios = f"**{result.ratio:.2f} ×** ({min(result.ratios):.2f}–{max(result.ratios):.2f})"
    return job, peer, reach, ratios, f"{ours:.2f} s / {theirs:.2f} s, peak {peak:.0f} MiB{note}"


def unpack_tar(bench: Bench) -> Iterator[Row]:
    layout = debian_image(bench.work, bench.cache)
    out = bench.out
    script = f"mkdir {out}; " + "; ".join(f"igzip -dc {path} | tar x -C {out}" for path in layer_paths(layout))
    ours = [OCIKIT, "unpack", "-q", f"oci:{layout}:latest", str(out)]
    yield row("unpack, all digests verified", "`igzip -dc \\| tar x`", "≤ 1.0", bench.against(ours, shell(script)))


def unpack_umoci(bench: Bench) -> Iterator[Row]:
    layout = debian_image(bench.work, bench.cache)
    ours = [OCIKIT, "unpack", "-q", f"oci:{layout}:latest", str(bench.out)]
    theirs = ["umoci", "raw", "unpack", "--image", f"{layout}:latest", str(bench.out)]
    yield row("unpack", "`umoci raw unpack`", "≤ 0.33", bench.against(ours, theirs, rounds=3))


def _append(bench: Bench, compression: str, peer: str, reach: str) -> Row:
    tree = bench.tree()
    out = bench.out
    ours = [OCIKIT, "append", "-q", "scratch", f"{tree}:/", "-t", f"oci:{out}:latest", "--compression", compression]
    theirs = shell(f"mkdir {out}; tar c -C {tree} . | {peer} > {out}/blob")
    result = bench.against(ours, theirs)
    run_once(theirs)
    size = (out / "blob").stat().st_size
    bench.clean()
    run_once(ours)
    mine = layer_paths(out)[0].stat().st_size
    bench.clean()
    return row(f"append a tree, {compression}", f"`tar c \\| {peer}`", reach, result, f", size {mine / size:.3f} ×")


def append_gzip(bench: Bench) -> Iterator[Row]:
    yield _append(bench, "gzip", "igzip -2 -T 2", "≤ 1.2, size ≤ 1.03")


def append_zstd(bench: Bench) -> Iterator[Row]:
    yield _append(bench, "zstd", "zstd -3 -T2", "≤ 1.1")


def verify(bench: Bench) -> Iterator[Row]:
    layout = debian_image(bench.work, bench.cache)
    blobs = " ".join(str(path) for path in layer_paths(layout))
    script = f"printf '%s\\n' {blobs} | xargs -P 2 -I@ sh -c 'sha256sum @; igzip -dc @ | sha256sum'"
    ours = [OCIKIT, "verify", "-q", f"oci:{layout}:latest"]
    peer = "`sha256sum` + `igzip -dc \\| sha256sum`, 2 at a time"
    yield row("verify, every entry looked at", peer, "≤ 1.15", bench.against(ours, shell(script)))


def start_up(bench: Bench) -> Iterator[Row]:
    layout = debian_image(bench.work, bench.cache)
    nothing = [sys.executable, "-c", "pass"]
    rounds = bench.rounds * 4
    yield row("`--version`", "`python3 -c pass`", "≤ 5", bench.against([OCIKIT, "--version"], nothing, rounds=rounds))
    ours = [OCIKIT, "inspect", f"oci:{layout}:latest"]
    yield row("`inspect`", "`python3 -c pass`", "≤ 10", bench.against(ours, nothing, rounds=rounds))


def growth(bench: Bench) -> Iterator[Row]:
    """Time per entry and peak memory for 10⁴, 10⁵ and 10⁶ entries; the ratio is against 10⁴."""
    base = 0.0
    start = statistics.median(run_once([OCIKIT, "init", "--help"]).wall for _ in range(5))
    for entries in (10**4, 10**5, 10**6):
        layout = synthetic_image(bench.work, entries)
        runs = []
        for _ in range(3 if entries < 10**6 else 2):
            bench.clean()
            runs.append(run_once([OCIKIT, "unpack", "-q", f"oci:{layout}:latest", str(bench.out)]))
        each = min(run.wall - start for run in runs) / entries * 1e6
        base = base or each
        figures = f"{each:.1f} µs an entry, peak {max(run.peak_mib for run in runs):.0f} MiB"
        yield f"unpack {entries:,} entries", "10,000 entries", "≤ 1.2, ≤ 150 MiB", f"**{each / base:.2f} ×**", figures
    bench.clean()


def registry_large(bench: Bench) -> Iterator[Row]:
    """200 MB in five layers: pushed, pulled, pulled again, unpacked without being kept."""
    layout = registry.large_image(bench.work)
    with registry.running(bench.work) as server:
        image = f"docker://{server.host}/bench/large:latest"

        ours, theirs = (
            [OCIKIT, "copy", "-q", f"oci:{layout}:latest", image],
            [*registry.SKOPEO, f"oci:{layout}:latest", image],
        )
        pushed = pair(ours, theirs, rounds=bench.rounds, before=bench.emptying(server))
        yield row("push 200 MB, 5 layers", "`skopeo copy`", "≤ 1.1", pushed)
        to_layout = f"oci:{bench.out}:latest"
        ours, theirs = [OCIKIT, "copy", "-q", image, to_layout], [*registry.SKOPEO, image, to_layout]
        pulled = bench.against(ours, theirs)
        yield row("pull 200 MB, 5 layers", "`skopeo copy`", "≤ 1.1, ≤ 100 MiB", pulled)
        run_once(ours)
        once = statistics.median(run.wall for run in pulled.theirs)
        again = [run_once(ours) for _ in range(bench.rounds * 2)]
        median = statistics.median(run.wall for run in again)
        yield (
            "pull again, all blobs there",
            "the first `skopeo copy`",
            "≤ 0.5",
            f"**{median / once:.2f} ×**",
            f"{median:.2f} s / {once:.2f} s, peak {max(run.peak_mib for run in again):.0f} MiB",
        )
        bench.clean()
        ours, theirs = ([OCIKIT, "unpack", "-q", where, str(bench.out)] for where in (image, f"oci:{layout}:latest"))
        yield row("unpack from the registry", "`ocikit unpack` from disk", "≤ 1.15", bench.against(ours, theirs))


def registry_real(bench: Bench) -> Iterator[Row]:
    """The real image, unpacked straight from the registry and from disk."""
    layout = debian_image(bench.work, bench.cache)
    with registry.running(bench.work) as server:
        image = f"docker://{server.host}/bench/debian:latest"
        run_once([*registry.SKOPEO, f"oci:{layout}:latest", image])
        ours, theirs = ([OCIKIT, "unpack", "-q", where, str(bench.out)] for where in (image, f"oci:{layout}:latest"))
        job = "unpack Debian from the registry"
        yield row(job, "`ocikit unpack` from disk", "≤ 1.15", bench.against(ours, theirs))


def registry_small(bench: Bench) -> Iterator[Row]:
    """1,000 layers of a kilobyte: what a request costs."""
    layout = registry.many_layers(bench.work)
    with registry.running(bench.work) as server:
        image = f"docker://{server.host}/bench/many:latest"

        source, out = f"oci:{layout}:latest", f"oci:{bench.out}:latest"
        ours, theirs = [OCIKIT, "copy", "-q", source, image], [*registry.SKOPEO, source, image]
        # skopeo takes a minute or more: two pairs say enough.
        pushed = pair(ours, theirs, rounds=2, before=bench.emptying(server), warm_up=False)
        yield row("push 1,000 small blobs", "`skopeo copy`", "≤ 1", pushed)
        ours, theirs = [OCIKIT, "copy", "-q", image, out], [*registry.SKOPEO, image, out]
        yield row("pull 1,000 small blobs", "`skopeo copy`", "≤ 1", bench.against(ours, theirs))


@contextmanager
def _stores(bench: Bench) -> Iterator[containers.Stores]:
    stores = containers.Stores(bench.work, OCIKIT)
    try:
        yield stores
    finally:
        stores.remove()


def container_create(bench: Bench) -> Iterator[Row]:
    """A container of the real image, made and removed: by the library, beside a bare mount, and by the commands."""
    layout = debian_image(bench.work, bench.cache)
    with _stores(bench) as stores:
        run_once([*stores.ocikit, "pull", "-q", f"oci:{layout}:latest", "-t", "debian"])
        run_once([*stores.ocikit, "rm", containers.output([*stores.ocikit, "create", "debian", "true"])])
        ours, mount = containers.create_and_remove(stores, "debian"), containers.mount_and_unmount(bench.work)
        figures = f"{ours:.2f} ms / {mount:.2f} ms, {ours - mount:+.2f} ms"
        job = "create + rm in the library, 540 MB image"
        yield job, "mount + umount of an overlay", "≤ 2 ms over it", f"**{ours / mount:.2f} ×**", figures
        image = containers.output([*stores.podman, "pull", "-q", f"oci:{layout}:latest"]).split()[-1]
        result = bench.against(
            [*stores.ocikit, "create", "debian", "true"], [*stores.buildah, "from", image], rounds=bench.rounds * 2
        )
        yield row("`create`", "`buildah from`", "≤ 1.5", result)


def container_run(bench: Bench) -> Iterator[Row]:
    """`run --rm IMAGE true`, beside podman and beside bare runc."""
    layout = containers.busybox_image(bench.work)
    bundle = containers.runc_bundle(bench.work)
    with _stores(bench) as stores:
        run_once([*stores.ocikit, "pull", "-q", f"oci:{layout}:latest", "-t", "busybox"])
        image = containers.output([*stores.podman, "pull", "-q", f"oci:{layout}:latest"]).split()[-1]
        ours = [*stores.ocikit, "run", "--rm", "busybox", "true"]
        rounds = bench.rounds * 2
        podman = [*stores.podman, "run", "--rm", "--network", "host", image, "true"]
        yield row("`run --rm IMAGE true`", "`podman run --rm`", "≤ 1.2", bench.against(ours, podman, rounds=rounds))
        runc = ["runc", "--root", str(stores.folder / "runc"), "run", "-b", str(bundle), "bench"]
        yield row("`run --rm IMAGE true`", "`runc run` of a ready bundle", "", bench.against(ours, runc, rounds=rounds))


def container_first(bench: Bench) -> Iterator[Row]:
    """The first use of an image: from a layout into the store, unpacked and ready for a container."""
    layout = debian_image(bench.work, bench.cache)
    with _stores(bench) as stores:

        def empty() -> None:
            stores.empty_ours()
            stores.empty_peers()

        ocikit = " ".join(stores.ocikit)
        ours = shell(f"{ocikit} pull -q oci:{layout}:latest -t debian && {ocikit} create debian true")
        theirs = [*stores.podman, "pull", "-q", f"oci:{layout}:latest"]
        yield row("first use: `pull` + `create`", "`podman pull`", "≤ 0.5", pair(ours, theirs, rounds=3, before=empty))


def container_many(bench: Bench) -> Iterator[Row]:
    """1,000 containers of one image: time and disk for each, and `ps`."""
    layout = containers.busybox_image(bench.work)
    with _stores(bench) as stores:
        run_once([*stores.ocikit, "pull", "-q", f"oci:{layout}:latest", "-t", "busybox"])
        first, last, each = containers.a_thousand(stores, "busybox")
        figures = f"{first:.2f} ms the first hundred, {last:.2f} ms the last, {each:.1f} KiB each"
        yield "1,000 containers of one image", "the first hundred", "flat", f"**{last / first:.2f} ×**", figures
        listing = [run_once([*stores.ocikit, "ps", "-a"]) for _ in range(bench.rounds)]
        wall = statistics.median(run.wall for run in listing)
        yield "`ps -a` of 1,000", "", "≤ 0.3 s", f"**{wall:.2f} s**", f"peak {max(r.peak_mib for r in listing):.0f} MiB"


def container_commit(bench: Bench) -> Iterator[Row]:
    """A small change on the real image, committed; another one each time, for buildah finds layers that it has made."""
    layout = debian_image(bench.work, bench.cache)
    with _stores(bench) as stores:
        run_once([*stores.ocikit, "pull", "-q", f"oci:{layout}:latest", "-t", "debian"])
        name = containers.output([*stores.ocikit, "create", "debian", "true"])
        image = containers.output([*stores.podman, "pull", "-q", f"oci:{layout}:latest"]).split()[-1]
        theirs = containers.output([*stores.buildah, "from", image])
        note, numbers = bench.work / "note", count()

        def change() -> None:
            note.write_text(f"change {next(numbers)}\n")
            run_once([*stores.ocikit, "cp", str(note), f"{name}:/etc/note"])
            run_once([*stores.buildah, "copy", theirs, str(note), "/etc/note"])

        ours = [*stores.ocikit, "commit", "-q", name, "-t", "changed"]
        result = pair(ours, [*stores.buildah, "commit", "-q", theirs, "changed"], rounds=bench.rounds, before=change)
        yield row("`commit` of a small change, 540 MB image", "`buildah commit`", "≤ 0.5", result)


JOBS: tuple[Callable[[Bench], Iterator[Row]], ...] = (
    unpack_tar,
    unpack_umoci,
    append_gzip,
    append_zstd,
    verify,
    start_up,
    growth,
    registry_large,
    registry_real,
    registry_small,
    container_create,
    container_run,
    container_first,
    container_many,
    container_commit,
)


def main() -> int:
    """Run the chosen jobs and print the table as they finish."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs a job (default 5)")
    parser.add_argument("--only", default="", help="jobs whose name holds this word")
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"), help="where Debian roots are kept")
    parser.add_argument("--work", type=Path, default=None, help="work folder (default: one on /dev/shm)")
    args = parser.parse_args()
    # As pip does when it installs: else each run compiles what was edited, where PYTHONDONTWRITEBYTECODE is set.
    compileall.compile_dir(Path(__file__).resolve().parent.parent / "oci", quiet=2)
    work = args.work or Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp") / f"ocikit-bench-{os.getuid()}"
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(work=work, cache=args.cache, rounds=args.rounds)
    print("| job | against | reach | ratio (range) | figures |\n| --- | --- | --- | --- | --- |")
    try:
        for job in JOBS:
            if args.only not in job.__name__:
                continue
            try:
                for line in job(bench):
                    print("| " + " | ".join(line) + " |", flush=True)
            except (RuntimeError, FileNotFoundError) as error:
                print(f"| {job.__name__} | | | not measured | {error} |", flush=True)
    finally:
        if args.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
