"""Checks of this part."""
