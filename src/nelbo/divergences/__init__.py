"""D(p || q): how far one distribution is from another, in nats."""

from nelbo.divergences.closed_form import closed_form, register_closed_form

__all__ = ["closed_form", "register_closed_form"]
