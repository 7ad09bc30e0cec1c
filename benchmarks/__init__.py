"""nelbo beside its peers, one script per claim: ``python -m benchmarks``."""
