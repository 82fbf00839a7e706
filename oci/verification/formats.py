"""A verify report in the formats that CI systems read: SARIF 2.1.0, JUnit XML, GitHub workflow commands.

Texts in a report may come from hostile images. They are printable already (`Finding` sees to that); each format here
escapes what is special in it, so that a name can't forge an element, a result or a command.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from oci.errors import show
from oci.verification.report import CODES, ERROR, Finding, Report

__all__ = ["FORMATS", "github", "junit", "sarif", "text"]

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def text(report: Report) -> str:
    """The report for people: a line for each finding, then one that sums up."""
    lines = [f"{finding.severity}: {finding.where}: {finding.message} [{finding.code}]" for finding in report.findings]
    checked = report.checked
    counts = (
        f"{_count(checked.manifests, 'manifest')}, {_count(checked.configs, 'config')},"
        f" {_count(checked.layers, 'layer')}, {checked.bytes:,} bytes checked"
    )
    errors, warnings = len(report.errors), len(report.warnings)
    noticed = f", {_count(warnings, 'warning')}" if warnings else ""
    verdict = f"ok{noticed}" if report.ok else f"{_count(errors, 'error')}{noticed}"
    lines.append(f"{show(report.subject)}: {verdict} ({counts})")
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sarif(report: Report, *, tool_version: str) -> str:
    """SARIF 2.1.0, one run; a result's place is the layout's file, with `where` as the logical location."""
    used = sorted({finding.code for finding in report.findings})
    rules = [{"id": code, "shortDescription": {"text": CODES.get(code, code)}} for code in used]
    results = [_sarif_result(finding, used.index(finding.code), report.subject) for finding in report.findings]
    document = {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "ocikit",
                        "semanticVersion": tool_version,
                        "version": tool_version,
                        "rules": rules,
                    }
                },
                "results": results,
                "columnKind": "unicodeCodePoints",
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _sarif_result(finding: Finding, rule: int, subject: str) -> dict[str, Any]:
    uri = quote(show(_file(finding.where) or subject), safe="/:@._-+")
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": "error" if finding.severity == ERROR else "warning",
        "message": {"text": f"{finding.where}: {finding.message}"},
        "locations": [
            {
                # GitHub's code scanning takes no result without a file and a line.
                "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": finding.where, "kind": "member"}],
            }
        ],
    }


_BLOB = re.compile(r"(?:layer )?([a-z0-9]+(?:[+._-][a-z0-9]+)*):([A-Za-z0-9=_-]+)(?: |$)")


def _file(where: str) -> str | None:
    """The layout's file that a place is in: `index.json`, `blobs/sha256/…`; None if it isn't in one."""
    blob = _BLOB.match(where)
    if blob:
        return f"blobs/{blob[1]}/{blob[2]}"
    first = where.split(" ", 1)[0]
    return first if first in ("index.json", "oci-layout", "blobs") or first.startswith("blobs/") else None


def junit(report: Report) -> str:
    """JUnit XML: one passing case, or a failing case for each error; warnings go to `system-out`."""
    subject = _xml(report.subject)
    errors = report.errors
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="ocikit verify" tests="{max(1, len(errors))}" failures="{len(errors)}" errors="0">',
        f'  <testsuite name="{subject}" tests="{max(1, len(errors))}" failures="{len(errors)}" errors="0" skipped="0">',
    ]
    if not errors:
        lines.append(f'    <testcase classname="ocikit.verify" name="{subject}"/>')
    for finding in errors:
        where, message = _xml(finding.where), _xml(finding.message)
        lines += [
            f'    <testcase classname="ocikit.verify.{finding.code}" name="{where}">',
            f'      <failure type="{finding.code}" message="{message}">{where}: {message}</failure>',
            "    </testcase>",
        ]
    if report.warnings:
        said = "\n".join(f"warning: {one.where}: {one.message} [{one.code}]" for one in report.warnings)
        lines.append(f"    <system-out>{_xml(said)}</system-out>")
    lines += ["  </testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


# What XML 1.0 can't hold at all, not even escaped (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(value: str) -> str:
    value = _NOT_XML.sub("\ufffd", value)
    for raw, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        value = value.replace(raw, escaped)
    return value


def github(report: Report) -> str:
    """GitHub's workflow commands: an annotation for each finding; nothing if there are none."""
    lines = []
    for finding in report.findings:
        command = "error" if finding.severity == ERROR else "warning"
        title = _property(f"ocikit verify: {finding.code}")
        message = _data(f"{report.subject}: {finding.where}: {finding.message}")
        lines.append(f"::{command} title={title}::{message}\n")
    return "".join(lines)


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


FORMATS = ("sarif", "junit", "github")
