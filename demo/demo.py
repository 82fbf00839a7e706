"""`make demo`: the main job on real input: build an image, look at it, verify it, unpack it, push it, pull it, compare;
and two containers of it, each with its own writes, and a volume that outlives both.

The base is a minimal Debian made from Debian's packages (mmdebstrap, when root), or a busybox; it is kept in .cache, so
that the second run takes seconds. Everything else happens in a temporary folder and goes at the end. Each step prints
the command that a person would type, and what it answers.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
CACHE = PROJECT / ".cache" / "demo"
OCIKIT = Path(sys.executable).parent / "ocikit"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}


def main() -> int:
    start = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    base, what = base_system()
    work = Path(tempfile.mkdtemp(prefix="work-", dir=CACHE))
    try:
        show_it(Demo(work), base, what)
    except DemoError as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(work)], check=False, **QUIET)  # type: ignore[call-overload]
        shutil.rmtree(work)
    print(
        f"\nThat's all, in {time.monotonic() - start:.0f} s."
        f" Everything made here is gone again, but for the base in {short(CACHE)}."
    )
    print("Next: the five-minute tour in README.md, and `.venv/bin/ocikit --help`.")
    return 0


class DemoError(Exception):
    """A step did not do what it should."""


class Demo:
    """Shows commands and runs them in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{OCIKIT.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
        # A caller's settings must not change what is shown.
        self.environ = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}
        self.environ["OCIKIT_ROOT"] = str(folder / "store")

    def say(self, text: str) -> None:
        print(f"\n\N{EM DASH} {text}", flush=True)

    def run(self, command: str, *, expect: int = 0, lines: int = 40) -> str:
        """Run a shell command, show it and what it prints; DemoError for another exit status than expected."""
        print(f"  $ {command}", flush=True)
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        shown = done.stdout.splitlines()
        for line in shown[:lines]:
            print(f"    {line}")
        if len(shown) > lines:
            print(f"    … {len(shown) - lines} more lines")
        if done.returncode != expect:
            raise DemoError(f"`{command}` ended with {done.returncode}, not {expect}")
        return done.stdout


def base_system() -> tuple[Path, str]:
    """A root file system to build on, as a tar or a directory, and what it is; made once."""
    if os.geteuid() == 0 and shutil.which("mmdebstrap"):
        made = debian()
        if made is not None:
            return made
    made = busybox()
    if made is not None:
        return made
    print("Neither mmdebstrap (as root) nor busybox can be had here: the base is a folder with a script in it.")
    folder = CACHE / "plain"
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "true").write_text("#!/bin/sh\n")
    return folder, "a folder with a script"


def debian() -> tuple[Path, str] | None:
    suite = "bookworm"
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME" and "ID=debian" in Path("/etc/os-release").read_text().splitlines():
            suite = value.strip('"')
    tar = CACHE / f"debian-{suite}.tar"
    if not tar.exists():
        print(f"Making a minimal Debian {suite} with mmdebstrap, once (a minute or so) …", flush=True)
        new = tar.with_suffix(".new.tar")
        log = CACHE / "mmdebstrap.log"
        with log.open("wb") as output:
            made = subprocess.run(
                ["mmdebstrap", "--variant=minbase", suite, str(new)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        if made.returncode != 0:
            print(f"mmdebstrap failed (see {short(log)}); going on with busybox.")
            new.unlink(missing_ok=True)
            return None
        log.unlink()
        new.rename(tar)
    return tar, f"a minimal Debian {suite}, {tar.stat().st_size / 1e6:.0f} MB"


def busybox() -> tuple[Path, str] | None:
    folder = CACHE / "busybox"
    program = folder / "bin" / "busybox"
    if not program.exists():
        found = shutil.which("busybox")
        if found is None:
            found = downloaded_busybox()
        if found is None:
            return None
        for name in ("bin", "etc", "tmp", "root"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "tmp").chmod(0o1777)
        (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        for name in ("sh", "ls", "cat", "echo", "id"):
            link = folder / "bin" / name
            if not link.is_symlink():
                link.symlink_to("busybox")
        shutil.copy2(found, program)
    return folder, "a busybox"


def downloaded_busybox() -> str | None:
    """The static busybox of Debian, without being root: downloaded and taken apart."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        got = subprocess.run(["apt-get", "download", "busybox-static"], cwd=folder, check=False, **QUIET)  # type: ignore[call-overload]
        packages = list(Path(folder).glob("*.deb"))
        if got.returncode != 0 or not packages:
            return None
        subprocess.run(["dpkg", "-x", str(packages[0]), "unpacked"], cwd=folder, check=True)
        program = next((p for p in Path(folder, "unpacked").rglob("busybox") if p.is_file()), None)
        return None if program is None else shutil.copy2(program, CACHE / "busybox.static")


def short(path: Path) -> str:
    return str(path.relative_to(PROJECT))


# What a tree is, beside the contents of its files: a line for each path, with all that `diff -r` does not look at.
FACTS = "find . -mindepth 1 ! -path './dev/*' -printf '%P|%y|%m|{owner}%T@|%l\\n' | LC_ALL=C sort"


def show_it(demo: Demo, base: Path, what: str) -> None:
    root = os.geteuid() == 0
    print(f"ocikit, on {what}, as {'root' if root else 'an ordinary user'}.")

    demo.say("An image from the base: one layer, in an OCI image layout (a plain folder).")
    demo.run(f"ocikit append scratch {shlex.quote(str(base))} -t ./images:base --created-by 'the base system'")

    demo.say("One more layer with our own program on top, and a config that says how to run it.")
    program = demo.folder / "app" / "usr" / "local" / "bin" / "hello"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "hello from inside: $(cat /etc/passwd | head -n 1)"\n')
    program.chmod(0o755)
    demo.run("ocikit append ./images:base app -t ./images:hello --created-by 'our program' --owner 0:0")
    demo.run("ocikit config ./images:hello -t ./images:hello --cmd '[\"/usr/local/bin/hello\"]' --env LANG=C.UTF-8")

    demo.say("The images in between are of no use any more: delete what no tag leads to. Then see what is there.")
    demo.run("ocikit gc ./images")
    demo.run("ocikit ls ./images")
    demo.run("ocikit inspect ./images:hello")
    demo.run("ocikit history ./images:hello")

    demo.say("Everything checked: schemas, sizes, digests, diff_ids, every entry of every layer.")
    demo.run("ocikit verify ./images")

    demo.say("The merged root file system, compared with what went in.")
    demo.run("ocikit unpack ./images:hello rootfs")
    compare(demo, base, root=root)

    demo.say("It is a real root file system: run the program in it.")
    run_inside(demo, root=root)

    demo.say("The same inputs give the same image: once more, into another layout.")
    demo.run(f"ocikit append scratch {shlex.quote(str(base))} -t ./again:base --created-by 'the base system'")
    first, second = (digest(demo, f"{where}:base") for where in ("./images", "./again"))
    if first != second:
        raise DemoError(f"two builds of the same inputs differ: {first}, {second}")
    print(f"    both are {first}")

    demo.say("As one file for other tools, and one of them reading it.")
    demo.run("ocikit copy ./images:hello oci-archive:hello.tar:hello")
    if shutil.which("skopeo"):
        demo.run("skopeo inspect oci-archive:hello.tar:hello | head -n 12")
    else:
        print("    (skopeo is not installed here; it would read the archive)")

    with registry(demo) as host:
        push_and_pull(demo, host)

    containers(demo)

    demo.say("And when a single byte is wrong, verify says so, with exit status 1.")
    blob = max((demo.folder / "images" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(blob.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    demo.run("ocikit verify ./images", expect=1)


@contextlib.contextmanager
def registry(demo: Demo) -> Iterator[str]:
    """A registry on loopback: Debian's docker-registry where it is installed, else our own; gives HOST:PORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = demo.folder / "registry"
    if shutil.which("docker-registry"):
        settings = demo.folder / "registry.yml"
        settings.write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
            f"storage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: '{host}'}}\n"
        )
        what, command = "Debian's docker-registry", ["docker-registry", "serve", str(settings)]
    else:
        what, command = "ocikit's own", [str(OCIKIT), "serve", str(storage), "--listen", host]
    demo.say(f"A real registry on this machine, {what} at {host}: push to it, pull from it.")
    with (demo.folder / "registry.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=demo.folder, env=demo.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{host}/v2/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise DemoError(f"the registry did not start: {(demo.folder / 'registry.log').read_text()[-500:]}")
        yield host
    finally:
        server.terminate()
        server.wait()


def push_and_pull(demo: Demo, host: str) -> None:
    image = f"docker://{host}/demo/hello"
    demo.run(f"ocikit copy ./images:hello {image}:1")
    demo.run(f"ocikit tags {image}")
    demo.run(f"ocikit verify {image}:1")
    demo.run(f"ocikit copy {image}:1 ./pulled:hello")
    pushed, pulled = digest(demo, f"{image}:1"), digest(demo, "./pulled:hello")
    if not digest(demo, "./images:hello") == pushed == pulled:
        raise DemoError(f"the digest changed on its way: {pushed}, {pulled}")
    print(f"    the same everywhere: {pushed}")
    demo.say("Straight from the registry into a directory: no blob is kept, each is checked.")
    demo.run(f"ocikit unpack {image}:1 from-registry")
    demo.run("diff -r --no-dereference --exclude=dev rootfs from-registry")


def containers(demo: Demo) -> None:
    """Two containers of one image; without a runtime that works, what can be done without one."""
    demo.say("Containers: the image in the local store, its layers unpacked once, whatever uses them.")
    demo.run("ocikit pull ./images:hello -t hello")
    try:
        tried = subprocess.run(
            ["sh", "-c", "ocikit run --rm hello /bin/sh -c true"],
            cwd=demo.folder, env=demo.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if tried.returncode == 0:
            running(demo)
        else:
            print(f"    (no container can be run here: {tried.stderr.strip().removeprefix('error: ')})")
            writing(demo)
    finally:
        # Files of a user's further ids: only ocikit can remove them.
        for command in ("rm -f one two", "volume rm -f notes", "rmi -f hello patched", "store prune --all"):
            subprocess.run(["sh", "-c", f"ocikit {command}"], cwd=demo.folder, env=demo.environ, check=False, **QUIET)  # type: ignore[call-overload]


def running(demo: Demo) -> None:
    demo.run("ocikit run --rm hello")
    demo.run("ocikit volume create notes")
    before = disk_use(demo)
    for name in ("one", "two"):
        demo.run(
            f"ocikit run --name {name} -v notes:/notes hello sh -c "
            f"'echo {name} > /own && echo {name} was here >> /notes/all'"
        )
    demo.run("ocikit ps -a")
    demo.say("Each has its own writes, and nothing else:")
    for name in ("one", "two"):
        demo.run(f"ocikit diff {name}")
        demo.run(f"ocikit cp {name}:/own - | tar -xO")
    after = disk_use(demo)
    print(f"    the store on disk: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB with both of them")
    if after > before * 1.1 + 1e6:
        raise DemoError("two containers take more than their own writes")
    demo.run("ocikit store df")
    demo.say("What one wrote becomes an image: one more layer, with the delta alone.")
    demo.run("ocikit commit one -t patched --message 'what one wrote'")
    demo.run("ocikit history patched")
    demo.say("Both go, with all that they wrote; the volume stays.")
    demo.run("ocikit rm one two")
    kept = demo.run("ocikit run --rm -v notes:/notes:ro hello cat /notes/all")
    if kept != "one was here\ntwo was here\n":
        raise DemoError("the volume is not what both containers left")
    demo.run("ocikit store check")


def writing(demo: Demo) -> None:
    """The writable layers without a process: made, written to by cp, told apart, committed."""
    before = disk_use(demo)
    for name in ("one", "two"):
        demo.run(f"ocikit create --name {name} hello sh")
        demo.run(f"echo {name} > own && ocikit cp own {name}:/own")
    demo.say("Each has its own writes, and nothing else:")
    for name in ("one", "two"):
        demo.run(f"ocikit diff {name}")
        demo.run(f"ocikit cp {name}:/own - | tar -xO")
    print(f"    the store on disk: {before / 1e6:.1f} MB before, {disk_use(demo) / 1e6:.1f} MB with both of them")
    demo.run("ocikit store df")
    demo.run("ocikit commit one -t patched --message 'what one wrote'")
    demo.run("ocikit history patched")
    demo.run("ocikit rm one two")


def disk_use(demo: Demo) -> int:
    """What the store takes on disk, in bytes."""
    done = subprocess.run(["du", "-sk", str(demo.folder / "store")], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) * 1024


def digest(demo: Demo, reference: str) -> str:
    command = [str(OCIKIT), "inspect", reference, "--json"]
    done = subprocess.run(command, cwd=demo.folder, env=demo.environ, capture_output=True, text=True, check=True)
    import json

    return str(json.loads(done.stdout)["digest"])


def compare(demo: Demo, base: Path, *, root: bool) -> None:
    expected = demo.folder / "expected"
    expected.mkdir()
    if base.is_dir():
        subprocess.run(["cp", "-a", f"{base}/.", str(expected)], check=True)
    else:
        subprocess.run(["tar", "-xpf", str(base), "-C", str(expected), "--numeric-owner"], check=True)
    demo.run("diff -r --no-dereference --exclude=dev expected rootfs", expect=1, lines=5)
    print("    (only our program differs, as it should)")
    if not root:
        return  # an ordinary user can't give files away: owners and times of a copy say little
    facts = FACTS.format(owner="%U:%G|")
    lists = [set(demo_output(demo, f"cd {name} && {facts}")) for name in ("expected", "rootfs")]
    ours = {"usr", "usr/local", "usr/local/bin", "usr/local/bin/hello"}
    wrong = {line for line in lists[0] ^ lists[1] if line.split("|")[0] not in ours}
    if wrong and not base.is_dir():
        raise DemoError(f"types, modes, owners, times or links differ: {sorted(wrong)[:4]}")
    if not base.is_dir():
        print(f"    types, modes, owners, times and links of {len(lists[0]):,} paths: the same")


def demo_output(demo: Demo, command: str) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", command], cwd=demo.folder, env=demo.environ, capture_output=True, text=True,
        errors="replace", check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def run_inside(demo: Demo, *, root: bool) -> None:
    command = (
        "chroot rootfs /usr/local/bin/hello" if root else "unshare --map-root-user chroot rootfs /usr/local/bin/hello"
    )
    works = subprocess.run(["sh", "-c", command], cwd=demo.folder, env=demo.environ, check=False, **QUIET)  # type: ignore[call-overload]
    if works.returncode == 0:
        demo.run(command)
    else:
        print("    (this machine lets nobody chroot here, so it is not run)")


if __name__ == "__main__":
    sys.exit(main())
