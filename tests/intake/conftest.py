"""Fixtures of the inbox's tests."""

from tests.intake.office import office

__all__ = ["office"]
