"""The system call filter of a container (runtime-spec v1.2 config-linux.md#seccomp): docker's default, or a profile.

A profile is JSON in docker's own form (archMap, rules with includes and excludes by capability, architecture and
kernel) or the runtime-spec's (architectures, plain rules). Both become the runtime-spec's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from oci.errors import show
from oci.runtime import seccomp_calls as calls
from oci.spec.record import Record
from oci.spec.wire import Fields, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["UNCONFINED", "Machine", "default_profile", "profile"]

UNCONFINED = "unconfined"
MAX_PROFILE = 1 << 20  # bytes; docker's default has 12 KiB

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_ACTIONS = "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY"
_OPERATORS = "NE LT LE EQ GE GT MASKED_EQ"
ACTIONS = frozenset(f"SCMP_ACT_{name}" for name in _ACTIONS.split())
OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in _OPERATORS.split())

# uname's machine → Go's name of the architecture, which images and the table have
MACHINES = {
    "x86_64": "amd64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "mips64": "mips64",
    "ppc64": "ppc64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
# Go's name → the one that profiles use in includes and excludes, where they differ
NATIVE = {"386": "x86", "mips64le": "mipsel64", "mipsle": "mipsel", "loong64": "loongarch64"}


class Machine(Record):
    """What a profile may depend on."""

    architecture: str  # Go's name
    kernel: tuple[int, int]

    @classmethod
    def of(cls, machine: str, release: str) -> Machine:
        """From uname's words: "x86_64", "6.18.44-generic"."""
        return cls(architecture=MACHINES.get(machine, machine), kernel=version(release))

    @property
    def native(self) -> str:
        return NATIVE.get(self.architecture, self.architecture)


def version(text: str) -> tuple[int, int]:
    """The first two numbers of a kernel's version."""
    major, _, rest = text.partition(".")
    return _leading(major), _leading(rest.partition(".")[0])


def _leading(text: str) -> int:
    """The number that a text begins with, 0 where it begins with none."""
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return int(digits) if digits else 0


def profile(text: str | None, capabilities: Collection[str], machine: Machine) -> dict[str, object] | None:
    """The document's `seccomp` for a setting; None: no filter. Raises InvalidDocument, InvalidInput, LimitExceeded."""
    if text is None:
        return default_profile(capabilities, machine)
    if text == UNCONFINED:
        return None
    return _read(text.encode("utf-8", "surrogateescape"), capabilities, machine)


def default_profile(capabilities: Collection[str], machine: Machine) -> dict[str, object]:
    """docker's default profile for a bounding set and a machine."""
    allowed = set(" ".join(calls.ALLOWED.values()).split())
    if machine.kernel >= (4, 8):
        allowed.update(calls.TRACING.split())
    for capability, names in calls.WITH_CAPABILITY.items():
        if capability in capabilities:
            allowed.update(names.split())
    for architectures, names in calls.OF_ARCHITECTURE.items():
        if machine.native in architectures:
            allowed.update(names.split())
    rules: list[dict[str, object]] = [{"names": sorted(allowed), "action": ALLOW}]
    rules += [_on_argument("socket", operator, family) for operator, family in calls.SOCKET_FAMILIES]
    rules += [_on_argument("personality", "SCMP_CMP_EQ", persona) for persona in calls.PERSONALITIES]
    if "CAP_SYS_ADMIN" not in capabilities:
        index = 1 if machine.native in calls.CLONE_FLAGS_SECOND else 0
        rules.append(_on_argument("clone", "SCMP_CMP_MASKED_EQ", calls.CLONE_NAMESPACES, index))
        rules.append({"names": ["clone3"], "action": ERRNO, "errnoRet": calls.ENOSYS})
    return {
        "defaultAction": ERRNO,
        "defaultErrnoRet": calls.EPERM,
        "architectures": list(calls.ARCHITECTURES.get(machine.architecture, ())),
        "syscalls": rules,
    }


def _on_argument(name: str, operator: str, value: int, index: int = 0) -> dict[str, object]:
    # SCMP_CMP_MASKED_EQ: the argument and `value` have `valueTwo` (0) in common: no bit of it.
    return {"names": [name], "action": ALLOW, "args": [{"index": index, "value": value, "op": operator}]}


def _read(raw: bytes, capabilities: Collection[str], machine: Machine) -> dict[str, object] | None:
    document = "seccomp profile"
    fields = Fields(loads(raw, document=document, limit=MAX_PROFILE), document=document, null_is_absent=True)
    default, rules = fields.optional_string("defaultAction"), fields.optional_objects("syscalls") or []
    if not default and not rules:
        return None  # as docker has it: an empty profile is none
    result: dict[str, object] = {"defaultAction": _one_of(fields, "defaultAction", default, ACTIONS)}
    _keep(result, "defaultErrnoRet", fields.optional_integer("defaultErrnoRet", 0, 4095))
    architectures = list(fields.optional_strings("architectures") or ())
    mapped = fields.optional_objects("archMap") or []
    if architectures and mapped:
        raise fields.fault("archMap", "stands beside architectures; only one of them can be meant")
    native = calls.ARCHITECTURES.get(machine.architecture, ("",))[0]
    for entry in mapped:
        if entry.string("architecture") == native:
            architectures = [native, *(entry.optional_strings("subArchitectures") or ())]
    _keep(result, "architectures", architectures or None)
    _keep(result, "flags", list(fields.optional_strings("flags") or ()) or None)
    for name in ("listenerPath", "listenerMetadata"):
        _keep(result, name, fields.optional_string(name))
    result["syscalls"] = [made for rule in rules for made in _rule(rule, capabilities, machine)]
    return result


def _rule(rule: Fields, capabilities: Collection[str], machine: Machine) -> Iterator[dict[str, object]]:
    """The rule in the runtime-spec's form, unless it isn't for this container."""
    names, one = list(rule.optional_strings("names") or ()), rule.optional_string("name")
    if one and names:
        raise rule.fault("name", "stands beside names; only one of them can be meant")
    names = [one] if one else names
    if not names:
        raise rule.fault("names", "a rule needs at least one system call")
    made: dict[str, object] = {
        "names": names,
        "action": _one_of(rule, "action", rule.optional_string("action"), ACTIONS),
    }
    _keep(made, "errnoRet", rule.optional_integer("errnoRet", 0, 4095))
    arguments = [_argument(argument) for argument in rule.optional_objects("args") or ()]
    _keep(made, "args", arguments or None)
    includes, excludes = _Condition(rule, "includes"), _Condition(rule, "excludes")
    if includes.holds(capabilities, machine, default=True, every=True) and not excludes.holds(
        capabilities, machine, default=False, every=False
    ):
        yield made


class _Condition:
    """`includes` or `excludes` of a rule in docker's form."""

    def __init__(self, rule: Fields, name: str) -> None:
        fields = rule.optional_object(name)
        self.capabilities = (fields and fields.optional_strings("caps")) or ()
        self.architectures = (fields and fields.optional_strings("arches")) or ()
        kernel = fields and fields.optional_string("minKernel")
        self.kernel = version(kernel) if kernel else None

    def holds(self, capabilities: Collection[str], machine: Machine, *, default: bool, every: bool) -> bool:
        """Of what is asked, whether every part holds (includes), or any (excludes); `default` when nothing is asked."""
        parts = []
        if self.architectures:
            parts.append(machine.native in self.architectures)
        if self.capabilities:
            parts.append((all if every else any)(name in capabilities for name in self.capabilities))
        if self.kernel is not None:
            parts.append(machine.kernel >= self.kernel)
        if not parts:
            return default
        return all(parts) if every else any(parts)


def _argument(fields: Fields) -> dict[str, object]:
    made: dict[str, object] = {
        "index": fields.integer("index", 0, 5),
        "value": fields.integer("value", 0, (1 << 64) - 1),
    }
    _keep(made, "valueTwo", fields.optional_integer("valueTwo", 0, (1 << 64) - 1))
    made["op"] = _one_of(fields, "op", fields.string("op"), OPERATORS)
    return made


def _one_of(fields: Fields, name: str, value: str | None, known: Collection[str]) -> str:
    if value not in known or value is None:
        raise fields.fault(name, f"{show(value or '')!r} is not one of {', '.join(sorted(known))}")
    return value


def _keep(target: dict[str, Any], name: str, value: object) -> None:
    if value is not None:
        target[name] = value
