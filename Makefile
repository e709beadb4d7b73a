# Everything runs from .venv, which .ci/setup makes from python3 and uv.lock alone.
# `make` sets up and lists what there is. Paths are relative on purpose: the checkout may lie anywhere.

# Where set-up put the compiled rules; without it the first start compiles them again for four seconds.
export KF_RULE_CACHE_DIR := $(CURDIR)/.venv/kingfisher
# A machine that keeps Python from storing what it compiles makes the tests half as slow again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup drill play test test-all check serve bench docs screenshots sbom licences faults

help: setup  ## set up, then list these
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup:  ## make .venv from python3 and uv.lock; nothing when it is up to date
	@sh .ci/setup

drill: setup  ## leak, abuse and contain an AWS key on the range, prove it, and leak again under OIDC
	@.venv/bin/bulkhead drill run aws-key-in-public-log --contrast

play: setup  ## a publish token is stolen, and again under OIDC; then press play on both in the browser
	@.venv/bin/bulkhead drill run npm-token-stolen-by-dependency --contrast
	@.venv/bin/bulkhead replay

# Twice as many processes as two cores: many a test waits, for a clock or for another process.
test: setup  ## the tests, without the slow ones
	@.venv/bin/python -m pytest -n 4 --dist worksteal -m "not slow" $(ARGS)

test-all: setup  ## every test
	@.venv/bin/python -m pytest -n 4 --dist worksteal $(ARGS)

check: setup  ## lint and types
	@.venv/bin/ruff check .
	@.venv/bin/mypy

serve: setup  ## Bulkhead and a small company on this machine, with a Slack to click through
	@.venv/bin/bulkhead serve --range

bench: setup  ## every figure that the README quotes
	@.venv/bin/python -m benchmarks
	@.venv/bin/python -m benchmarks.storm
	@.venv/bin/python -m benchmarks.signals
	@.venv/bin/python -m benchmarks.slack
	@.venv/bin/python -m benchmarks.latency
	@.venv/bin/python -m benchmarks.failover
	@.venv/bin/python -m benchmarks.restart
	@.venv/bin/python -m benchmarks.soak
	@.venv/bin/python -m benchmarks.soak --recorded --incidents 10000
	@.venv/bin/python -m benchmarks.scale

faults: setup  ## every route that a drill uses fails in turn, in every way: an hour on two cores
	@.venv/bin/python -m benchmarks.faults --once $(ARGS)

docs: setup  ## write docs/reference.md anew from the code
	@.venv/bin/python docs/generate.py

screenshots: setup  ## take the pictures of the README anew, in a real browser
	@.venv/bin/python docs/screenshots.py

# What is installed with Bulkhead, its range and its traces, from the lock alone: no network, the same file each time.
sbom: setup  ## write dist/bulkhead.cdx.json, what a release is made of (CycloneDX 1.5)
	@mkdir -p dist
	@.venv/bin/uv export --frozen --no-dev --extra range --extra traces --format cyclonedx1.5 --quiet \
		--output-file dist/bulkhead.cdx.json
	@echo wrote dist/bulkhead.cdx.json

# Licences with which an Apache-2.0 program may be used and passed on. Two wheels state none: the LICENSE of pagerduty's
# repository (PagerDuty/python-pagerduty) is MIT's, and so is the one that lies in the wheel of sigstore-models.
LICENCES := Apache;BSD;MIT;ISC;Unlicense;Python Software Foundation;PSF;Mozilla Public License 2.0;MPL-2.0;LGPL;Lesser General Public
licences: setup  ## say under which licence each library stands; fails for one that is not on the list
	@.venv/bin/pip-licenses --from=mixed --partial-match --allow-only="$(LICENCES)" \
		--ignore-packages pagerduty sigstore-models
