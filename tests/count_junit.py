"""Prints "PASSED FAILED" of a JUnit report; a report that is not there counts as nothing."""
import sys
import xml.etree.ElementTree as xml

passed = failed = 0
try:
    for suite in xml.parse(sys.argv[1]).getroot().iter("testsuite"):
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        passed += tests - bad - skipped
        failed += bad
except (OSError, xml.ParseError):
    pass
print(passed, failed)
