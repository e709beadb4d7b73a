"""The range: a small company on loopback (AWS, GitHub, an OIDC issuer, a runner, an attacker) for drills and tests."""
