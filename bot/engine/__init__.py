"""Runs incidents: durable workflows, decisions, ledger, policy."""
