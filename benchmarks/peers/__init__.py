"""One program per peer, each written as its users would write it; ``benchmarks.turns`` runs them."""
