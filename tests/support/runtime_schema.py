"""What the runtime-spec (v1.2 config.md, config-linux.md) lets a document say, as a JSON Schema of our own.

Narrower than the spec where we are: a field that we never write is not in it, so that a misspelled one is found.
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "pattern": "^[^\\u0000]*$"}
PATH = {"type": "string", "pattern": "^/[^\\u0000]*$"}  # config.md: cwd and mounts' destinations are absolute
ID = {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}
UINT64 = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
INT64 = {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1}
CAPABILITIES = {"type": "array", "items": {"type": "string", "pattern": "^CAP_[A-Z_]+$"}, "uniqueItems": True}


def thing(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def several(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


PROCESS = thing(
    ["user", "args", "cwd"],
    terminal={"type": "boolean"},
    user=thing(["uid", "gid"], uid=ID, gid=ID, additionalGids=several(ID, uniqueItems=True)),
    args=several(TEXT, minItems=1),
    env=several({"type": "string", "pattern": "^[^=\\u0000]+=[^\\u0000]*$"}, uniqueItems=True),
    cwd=PATH,
    capabilities=thing(
        [],
        **dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), CAPABILITIES),
    ),
    noNewPrivileges={"type": "boolean"},
    rlimits=several(
        thing(["type", "soft", "hard"], type={"type": "string", "pattern": "^RLIMIT_[A-Z]+$"}, soft=UINT64, hard=UINT64)
    ),
)

MOUNT = thing(
    ["destination", "type", "source", "options"],
    destination=PATH,
    type={"enum": ["proc", "tmpfs", "devpts", "sysfs", "cgroup", "mqueue", "bind", "none"]},
    source=TEXT,
    options=several({"type": "string", "minLength": 1}, uniqueItems=True),
)

DEVICE_RULE = thing(
    ["allow"],
    allow={"type": "boolean"},
    type={"enum": ["a", "b", "c"]},
    major=INT64,
    minor=INT64,
    access={"type": "string", "pattern": "^[rwm]+$"},
)

SECCOMP = thing(
    ["defaultAction", "syscalls"],
    defaultAction={"type": "string", "pattern": "^SCMP_ACT_"},
    defaultErrnoRet=ID,
    architectures=several({"type": "string", "pattern": "^SCMP_ARCH_"}, uniqueItems=True),
    flags=several({"type": "string"}),
    syscalls=several(
        thing(
            ["names", "action"],
            names=several({"type": "string", "minLength": 1}, minItems=1),
            action={"type": "string", "pattern": "^SCMP_ACT_"},
            errnoRet=ID,
            args=several(
                thing(
                    ["index", "value", "op"],
                    index={"type": "integer", "minimum": 0, "maximum": 5},
                    value=UINT64,
                    valueTwo=UINT64,
                    op={"type": "string", "pattern": "^SCMP_CMP_"},
                )
            ),
        )
    ),
)

LINUX = thing(
    ["namespaces"],
    namespaces=several(
        thing(["type"], type={"enum": ["pid", "network", "mount", "ipc", "uts", "cgroup"]}, path=PATH), uniqueItems=True
    ),
    devices=several(
        thing(
            ["type", "path", "major", "minor"],
            type={"enum": ["c", "b"]},
            path=PATH,
            major=INT64,
            minor=INT64,
            fileMode={"type": "integer", "minimum": 0, "maximum": 0o7777},
            uid=ID,
            gid=ID,
        )
    ),
    resources=thing(
        [],
        devices=several(DEVICE_RULE),
        memory=thing([], limit=INT64, swap=INT64),
        cpu=thing([], shares=UINT64, quota=INT64, period=UINT64),
        pids=thing(["limit"], limit=INT64),
    ),
    cgroupsPath=PATH,
    seccomp=SECCOMP,
    maskedPaths=several(PATH, uniqueItems=True),
    readonlyPaths=several(PATH, uniqueItems=True),
    rootfsPropagation={"enum": ["rslave"]},
)

DOCUMENT = thing(
    ["ociVersion", "process", "root", "mounts", "linux"],
    ociVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    process=PROCESS,
    root=thing(["path"], path={"type": "string", "minLength": 1}, readonly={"type": "boolean"}),
    hostname={"type": "string", "minLength": 1, "maxLength": 64},
    mounts=several(MOUNT),
    annotations={
        "type": "object",
        "propertyNames": {"minLength": 1},
        "additionalProperties": {"type": "string"},
    },
    linux=LINUX,
)
