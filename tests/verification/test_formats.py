"""The report in the formats of CI systems, also when names in it try to break out."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from oci.verification.formats import github, junit, sarif, text
from oci.verification.report import CODES, Checked, Finding, Report

HOSTILE = 'a"><failure/>&\x00\x1b[2J\n::error::x\r]]>%0A\u202e\ud800é😀'
REPORT = Report(
    subject="./images:v1",
    findings=(
        Finding.error("digest-mismatch", "sha256:" + "a" * 64 + " /layers/1", "other bytes"),
        Finding.warning("unreferenced-blob", "blobs/sha256/" + "b" * 64, "nothing refers to it"),
        Finding.error("unsafe-entry", "layer sha256:" + "c" * 64 + " entry ../x", "leaves the root"),
        Finding.error("schema", "index.json /manifests", "must be an array, is null"),
    ),
    checked=Checked(manifests=1, configs=1, layers=2, bytes=1234567),
)
CLEAN = Report(subject="./images:v1", checked=Checked(manifests=1, configs=1, layers=1, bytes=10))
ATTACK = Report(
    subject=HOSTILE, findings=(Finding.error("schema", HOSTILE, HOSTILE), Finding.warning("bad-tag", HOSTILE, HOSTILE))
)


def test_text_has_a_line_for_each_finding_and_one_that_sums_up() -> None:
    lines = text(REPORT).splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("warning: blobs/sha256/bbb")
    assert lines[-1] == "./images:v1: 3 errors, 1 warning (1 manifest, 1 config, 2 layers, 1,234,567 bytes checked)"
    assert text(CLEAN) == "./images:v1: ok (1 manifest, 1 config, 1 layer, 10 bytes checked)\n"


def test_text_of_hostile_names_stays_in_its_lines() -> None:
    assert all(line.isprintable() for line in text(ATTACK).splitlines())
    assert len(text(ATTACK).splitlines()) == 3


def check_sarif(document: dict[str, object]) -> list[dict[str, object]]:
    """What the schema of SARIF 2.1.0 asks of the parts that we write (sections 3.13 to 3.30)."""
    assert set(document) <= {"$schema", "version", "runs"}
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]  # type: ignore[misc]
    driver = run["tool"]["driver"]
    assert driver["name"] == "ocikit"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", driver["semanticVersion"])
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    assert all(rule["shortDescription"]["text"].endswith(".") for rule in driver["rules"])
    for result in run["results"]:
        assert result["ruleId"] == ids[result["ruleIndex"]]
        assert result["level"] in ("error", "warning")
        assert result["message"]["text"]
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"(?:[A-Za-z0-9/:@._+~-]|%[0-9A-F]{2})+", uri)
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert location["logicalLocations"][0]["fullyQualifiedName"]
    return list(run["results"])


def test_sarif_has_a_result_for_each_finding_at_the_layouts_file() -> None:
    results = check_sarif(json.loads(sarif(REPORT, tool_version="1.2.3")))
    uris = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in results]  # type: ignore[index]
    assert uris == [
        "blobs/sha256/" + "a" * 64,
        "blobs/sha256/" + "b" * 64,
        "blobs/sha256/" + "c" * 64,
        "index.json",
    ]
    assert [one["level"] for one in results] == ["error", "warning", "error", "error"]


@pytest.mark.parametrize("report", [CLEAN, ATTACK], ids=["clean", "attack"])
def test_sarif_keeps_its_structure(report: Report) -> None:
    encoded = sarif(report, tool_version="1.2.3").encode("utf-8")
    assert len(check_sarif(json.loads(encoded))) == len(report.findings)


def test_junit_has_a_failing_case_for_each_error() -> None:
    root = ElementTree.fromstring(junit(REPORT))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("name")) == ("3", "3", "./images:v1")
    cases = suite.findall("testcase")
    assert [case.get("classname") for case in cases] == [
        "ocikit.verify.digest-mismatch",
        "ocikit.verify.unsafe-entry",
        "ocikit.verify.schema",
    ]
    assert all(case.find("failure") is not None for case in cases)
    assert "unreferenced-blob" in (suite.findtext("system-out") or "")


def test_junit_of_a_clean_report_has_one_passing_case() -> None:
    (suite,) = ElementTree.fromstring(junit(CLEAN))
    assert [child.tag for child in suite] == ["testcase"]
    assert list(suite[0]) == []


def test_junit_takes_no_elements_from_names() -> None:
    written = junit(ATTACK)
    (suite,) = ElementTree.fromstring(written.encode("utf-8"))
    assert [child.tag for child in suite] == ["testcase", "system-out"]
    assert [child.tag for child in suite[0]] == ["failure"]
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", written)


def test_github_has_a_command_for_each_finding() -> None:
    lines = github(REPORT).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("::error title=ocikit verify%3A digest-mismatch::./images:v1: sha256:aaa")
    assert lines[1].startswith("::warning title=ocikit verify%3A unreferenced-blob::")
    assert github(CLEAN) == ""


def test_github_takes_no_commands_from_names() -> None:
    lines = github(ATTACK).split("\n")
    assert len(lines) == 3
    assert lines[2] == ""
    assert all(re.match("::(error|warning) title=", line) for line in lines[:2])
    assert "%0A" in lines[0].replace("%250A", "") or "\\n" in lines[0]
    assert "%250A" in lines[0]


def test_every_code_has_one_sentence() -> None:
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", code) for code in CODES)
    assert all(meaning.endswith(".") for meaning in CODES.values())
    assert list(CODES) == sorted(CODES)
