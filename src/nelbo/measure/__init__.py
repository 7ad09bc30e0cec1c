"""Is the model any good? Its log p(x), what its bound hides, what its latents hold: in nats, with error bars."""

__all__: list[str] = []
