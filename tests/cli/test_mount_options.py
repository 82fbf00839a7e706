"""-v, --mount and --tmpfs: docker's rules, and one line for each way to get them wrong."""

from __future__ import annotations

import pytest

from oci.cli.failures import UsageError
from oci.cli.mount_options import mount, one_each, tmpfs, volume
from oci.runtime.settings import MountSetting

CWD = "/home/me/work"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/data", {"type": "volume", "target": "/data"}),
        ("data:/var/lib/data", {"type": "volume", "source": "data", "target": "/var/lib/data"}),
        ("data:/d:ro", {"type": "volume", "source": "data", "target": "/d", "read_only": True}),
        ("data:/d:rw,nocopy", {"type": "volume", "source": "data", "target": "/d", "nocopy": True}),
        ("/srv:/srv", {"type": "bind", "source": "/srv", "target": "/srv"}),
        ("/srv/../etc:/srv/", {"type": "bind", "source": "/etc", "target": "/srv"}),
        ("./x:/x:ro,z", {"type": "bind", "source": "/home/me/work/x", "target": "/x", "read_only": True}),
        (".:/x", {"type": "bind", "source": CWD, "target": "/x"}),
        ("../x:/x:Z,rslave", {"type": "bind", "source": "/home/me/x", "target": "/x", "propagation": "rslave"}),
        ("/a:/b:bind", {"type": "bind", "source": "/a", "target": "/b", "recursive": False}),
        ("/a://b//c", {"type": "bind", "source": "/a", "target": "/b/c"}),
    ],
)
def test_volume_says_what_docker_says(text: str, wanted: dict[str, object]) -> None:
    assert volume(text, CWD) == MountSetting(**wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has to be absolute"),
        ("data", "has to be absolute: 'data'"),
        ("data:relative", "has to be absolute: 'relative'"),
        ("/a:/b:ro:rw", "expected [NAME or /HOST/PATH:]/PATH"),
        (":/b", "a volume's name or a host path is missing"),
        ("a:/b", "two at least"),
        ("-x:/b", "is no volume's name"),
        ("sub/dir:/b", "a path of this machine begins with / or ./, as in ./sub/dir"),
        ("data:/", "over the container's root"),
        ("/a:/b/..", "over the container's root"),
        ("data:/b:ro,rw", "ro or rw is said twice"),
        ("data:/b:rshared", "'rshared' is no option for a volume"),
        ("/a:/b:nocopy", "'nocopy' is no option for a path of this machine"),
        ("/a:/b:slave,shared", "a propagation is said twice"),
        ("/a:/b:", "'' is no option"),
        ("/a:/b:RO", "'RO' is no option"),
        ("/a:/b:U", "'U' is no option for a path of this machine"),
    ],
)
def test_a_wrong_volume_is_told_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as failure:
        volume(text, CWD)
    assert says in str(failure.value)
    assert str(failure.value).startswith("-v ")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("type=bind,source=/a,target=/b", {"type": "bind", "source": "/a", "target": "/b"}),
        ("type=bind,src=x,dst=/b,ro", {"type": "bind", "source": f"{CWD}/x", "target": "/b", "read_only": True}),
        ("type=bind,src=/a,dst=/b,readonly=false", {"type": "bind", "source": "/a", "target": "/b"}),
        (
            "type=bind,src=/a,dst=/b,bind-propagation=shared,bind-recursive=disabled",
            {"type": "bind", "source": "/a", "target": "/b", "propagation": "shared", "recursive": False},
        ),
        ("target=/b", {"type": "volume", "target": "/b"}),
        ("source=data,destination=/b,volume-nocopy", {"type": "volume", "source": "data", "target": "/b",
                                                      "nocopy": True}),
        ("type=tmpfs,dst=/b,tmpfs-size=64m,tmpfs-mode=1770", {"type": "tmpfs", "target": "/b",
                                                              "options": ("size=67108864", "mode=1770")}),
        ('type=bind,"src=/with,comma",dst=/b', {"type": "bind", "source": "/with,comma", "target": "/b"}),
        ('type=bind,"src=/with""quote",dst=/b', {"type": "bind", "source": '/with"quote', "target": "/b"}),
        ("TYPE=volume,Target=/b,consistency=cached", {"type": "volume", "target": "/b"}),
    ],
)  # fmt: skip
def test_mount_says_what_docker_says(text: str, wanted: dict[str, object]) -> None:
    assert mount(text, CWD) == MountSetting(**wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "target= is missing"),
        ("type=bind,target=/b", "source= is missing"),
        ("type=nfs,target=/b", "type 'nfs' is not one of bind, volume, tmpfs"),
        ("type=bind,src=/a,source=/b,dst=/c", "source is said twice"),
        ("type=tmpfs,src=/a,dst=/b", "memory has no source="),
        ("type=bind,src=/a,dst=/b,volume-nocopy", "volume-nocopy is for type=volume"),
        ("type=volume,dst=/b,tmpfs-size=1m", "tmpfs-size is for type=tmpfs"),
        ("type=volume,dst=/b,volume-driver=nfs", "volume-driver is not supported"),
        ("type=volume,dst=/b,colour=red", "colour is not a key of --mount"),
        ("type=volume,dst=/b,readonly=maybe", "readonly is true or false, not 'maybe'"),
        ("type=volume,dst", "'dst' is not KEY=VALUE"),
        ("type=volume,dst=b", "has to be absolute"),
        ("type=volume,src=a/b,dst=/b", "is no volume's name"),
        ("type=tmpfs,dst=/b,tmpfs-size=big", "tmpfs-size 'big'"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "octal"),
        ("type=bind,src=/a,dst=/b,bind-propagation=x", "bind-propagation is one of"),
        ('type=bind,"src=/a,dst=/b', "the quotes are not closed"),
    ],
)
def test_a_wrong_mount_is_told_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as failure:
        mount(text, CWD)
    assert says in str(failure.value)
    assert "\n" not in str(failure.value)


def test_tmpfs_takes_the_options_of_mount() -> None:
    assert tmpfs("/run") == MountSetting(type="tmpfs", target="/run")
    assert tmpfs("/run:size=64m,noexec") == MountSetting(type="tmpfs", target="/run", options=("size=64m", "noexec"))
    for text, says in (("run", "absolute"), ("/run:", "no options"), ("/run:size=1 2", "no mount option")):
        with pytest.raises(UsageError, match=says):
            tmpfs(text)


def test_two_mounts_of_one_path_are_refused() -> None:
    with pytest.raises(UsageError, match="the same path in the container: /data"):
        one_each([volume("/data", CWD), volume("/srv:/data/", CWD)])
