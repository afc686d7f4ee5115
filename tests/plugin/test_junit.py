"""--junitxml: a valid report with properties and verdicts, and not a word of the book.

The schema is the part of Jenkins' xunit2 that pytest itself keeps to. pytest writes a test case's
properties inside <testcase>, which that schema does not know; here they are allowed first.
"""

from pathlib import Path

import pytest
from lxml import etree
from marks import full

TEXTS = ("lanterns along the quay", "grandmother had warned", "crossed at night", "boatman")
SCHEMA = """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:simpleType name="time">
    <xs:restriction base="xs:string">
      <xs:pattern value="(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\\.[0-9]{0,3})?"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:complexType name="outcome" mixed="true">
    <xs:attribute name="type" type="xs:string"/>
    <xs:attribute name="message" type="xs:string"/>
  </xs:complexType>
  <xs:element name="properties">
    <xs:complexType><xs:sequence>
      <xs:element name="property" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
        <xs:attribute name="name" type="xs:string" use="required"/>
        <xs:attribute name="value" type="xs:string" use="required"/>
      </xs:complexType></xs:element>
    </xs:sequence></xs:complexType>
  </xs:element>
  <xs:element name="testcase">
    <xs:complexType>
      <xs:sequence>
        <xs:element ref="properties" minOccurs="0"/>
        <xs:choice minOccurs="0" maxOccurs="unbounded">
          <xs:element name="skipped" type="outcome"/>
          <xs:element name="error" type="outcome"/>
          <xs:element name="failure" type="outcome"/>
          <xs:element name="system-out" type="xs:string"/>
          <xs:element name="system-err" type="xs:string"/>
        </xs:choice>
      </xs:sequence>
      <xs:attribute name="name" type="xs:string" use="required"/>
      <xs:attribute name="time" type="time"/>
      <xs:attribute name="classname" type="xs:string"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="testsuite">
    <xs:complexType>
      <xs:choice minOccurs="0" maxOccurs="unbounded">
        <xs:element ref="properties"/>
        <xs:element ref="testcase"/>
      </xs:choice>
      <xs:attribute name="name" type="xs:string" use="required"/>
      <xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
      <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/>
      <xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
      <xs:attribute name="skipped" type="xs:nonNegativeInteger"/>
      <xs:attribute name="time" type="time"/>
      <xs:attribute name="timestamp" type="xs:dateTime"/>
      <xs:attribute name="hostname" type="xs:string"/>
    </xs:complexType>
  </xs:element>
  <xs:element name="testsuites">
    <xs:complexType>
      <xs:sequence><xs:element ref="testsuite" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
      <xs:attribute name="name" type="xs:string"/>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""


def properties(element):
    return {one.get("name"): one.get("value") for one in element.iterfind("properties/property")}


def recorded(name, path, keys=""):
    options = f'[model.options]\npath = "{path}.json"\n'
    return f'\n[[model]]\nid = "{name}"\nprovider = "recorded"\n{keys}{options}'


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_a_pass_a_fail_an_error_and_an_expected_leak(suite, gate, workers):
    leaky = '\n[[model]]\nid = "leaky"'
    more = recorded("expected", "leaky", 'expected = "leak"\n') + recorded("missing", "missing")
    few = '\n[[pair]]\nmodel = "expected"\nbook = "ferry"\nsamples = 2\n'
    suite((leaky, f"{more}{few}{leaky}"))
    gate("--junitxml=out.xml", *workers, passed=1, failed=1, errors=1, xfailed=1)
    report = etree.parse("out.xml")
    etree.XMLSchema(etree.fromstring(SCHEMA)).assertValid(report)
    text = Path("out.xml").read_text("utf-8").lower()
    assert [words for words in TEXTS if words in text] == []
    # What the run used stands once, what differs from pair to pair with each.
    run = properties(report.getroot().find("testsuite"))
    assert len(run["memleak.suite.test.memleak.toml.sha256"]) == 64
    assert run["memleak.version"]
    assert not [name for name in run if name.startswith("memleak.book")]
    found = {
        case.get("name").partition("[")[2].partition("/")[0]: case
        for case in report.iterfind(".//testcase")
    }
    told = {name: properties(case) for name, case in found.items()}
    assert {name: one["memleak.verdict"] for name, one in told.items()} == {
        "clean": "PASS", "leaky": "FAIL", "expected": "FAIL", "missing": "INCONCLUSIVE",
    }  # fmt: skip
    samples = {name: one["memleak.setting.samples"] for name, one in told.items()}
    assert samples == {"clean": "3", "leaky": "3", "expected": "2", "missing": "3"}
    for one in told.values():
        assert one["memleak.provider"] == "recorded"
        assert one["memleak.setting.probe.kind"] == "instruction"
        assert len(one["memleak.suite_sha256"]) == 64
    assert told["leaky"]["memleak.longest_span"] == "16"
    assert told["leaky"]["memleak.limit.longest_span"] == "10"
    assert told["leaky"]["memleak.generations_received"] == "6"
    assert found["leaky"].find("failure") is not None
    assert found["missing"].find("error") is not None


def test_no_text_gets_in_through_output_logs_locals_or_assertions(suite, gate, own_tests):
    suite()
    own_tests(
        """
        import logging

        def test_mine(memorization, memleak_book):
            text = " ".join(one.text for one in memleak_book.excerpts)
            print(text)
            logging.getLogger().warning(text)
            assert text == ""
        """
    )
    options = ("--junitxml=out.xml", "-l", "-k", "mine", "-o", "junit_logging=all")
    result = gate(*options, "--memleak-quote=0", failed=2, deselected=2)
    junit = Path("out.xml").read_text("utf-8")
    assert "[captured output redacted]" in junit
    for text in (junit, result.stdout.str()):
        assert [words for words in TEXTS if words in text.lower()] == []
