"""Results as data (rows, sections, pictures, findings), and as text, terminal tables, HTML pages and JSON."""

from nelbo.report.findings import Findings
from nelbo.report.parts import FINDINGS, MEASURES, PAGE, Finding, Passed, Picture, Row, Section, Severity
from nelbo.report.report import Report

__all__ = [
    "FINDINGS",
    "MEASURES",
    "PAGE",
    "Finding",
    "Findings",
    "Passed",
    "Picture",
    "Report",
    "Row",
    "Section",
    "Severity",
]
