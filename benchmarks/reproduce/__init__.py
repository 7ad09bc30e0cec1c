"""``make reproduce``: published numbers trained and measured again; docs/reproduce.md says how and what came out."""
