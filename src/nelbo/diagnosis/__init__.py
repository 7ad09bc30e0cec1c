"""What is wrong with a VAE, the evidence, and what to change."""

from nelbo.diagnosis.diagnose import diagnose
from nelbo.diagnosis.explain import explain
from nelbo.diagnosis.finding import Finding, Findings, Measured, Passed, Severity

__all__ = ["Finding", "Findings", "Measured", "Passed", "Severity", "diagnose", "explain"]
