"""Bulkhead contains a compromised CI token by playbook and proves that it is dead."""

__version__ = "0.1.0"
