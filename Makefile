# `make run` serves the whole service on this machine; `make test` checks it. Both set themselves up.
.PHONY: run token test test-all test-times test-busy check format lock clean package deploy rollback destroy reconcile \
	rebuild redrive remake e2e bench bench-imaging bench-quality bench-crop \
	scorecard cold-start bench-list bench-rebuild load fuzz fault-matrix mutants audit \
	screenshots

# The interpreter of the last `make`, if it is still there: PYTHON=python3.13 is said once.
PYTHON ?= $(or $(shell p=$$(cat .venvs/python 2>/dev/null) && [ -x "$$p" ] && echo "$$p"),python3)
VENV := .venv
BIN := $(VENV)/bin
# Phony: local/environment.py sees by content what is to be installed. What `make run` needs is less than the rest.
RUN := environment-run
READY := environment-all
.PHONY: $(RUN) $(READY)

# With OWNERS=1, each request needs a token that `make token` has made, and sees its owner's pictures alone.
run: $(RUN)
	@exec $(BIN)/python -m local

token: $(RUN)
	@$(BIN)/python -m local.owners "$(SUB)"

# As many tests at a time as there are cores, each worker with servers of its own.
XDIST := --numprocesses logical --maxprocesses 8 --dist worksteal

# What is quick; docs/testing.md says what that leaves out.
test: check
	$(BIN)/python -m pytest $(XDIST) -m "not slow"

# Everything, the packaged stack on MiniStack included.
JUNIT := build/junit
test-all: check
	$(BIN)/python -m pytest $(XDIST) --junitxml $(JUNIT)/all.xml
	@$(MAKE) --no-print-directory e2e

# The same, and the table of docs/testing.md made anew.
test-times: test-all
	$(BIN)/python -m tests.times --write docs/testing.md $(JUNIT)/all.xml $(JUNIT)/ministack.xml

# All tests three times, beside a load that takes every core; two hours or so. TESTS chooses others.
test-busy: $(READY)
	$(BIN)/python -m tests.busy --times $(or $(TIMES),3) $(XDIST) $(TESTS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --persona pedantic .github

# The release build, into build/; ARCHITECTURE is arm64 or x86_64.
package: $(READY)
	@$(BIN)/python -m deploy.package --architecture $(or $(ARCHITECTURE),arm64)

# What deploying reads from the environment: as it is written, `$` and quotes included, and on no command line.
override PARAMETERS := $(value PARAMETERS)
export PARAMETERS PARAMETERS_FILE STAGE YES ROLLBACK

# For example: make deploy STAGE=prod PARAMETERS="AlarmEmail=me@example.com ThrottleRate=50". PARAMETERS_FILE names a
# file of them, YES=1 agrees to replacements, ROLLBACK=1 goes back if the smoke test fails.
deploy: $(READY)
	@$(BIN)/python -m deploy.deploy --architecture $(or $(ARCHITECTURE),arm64)

# Back to the last version that passed its smoke test.
rollback: $(READY)
	@$(BIN)/python -m deploy.rollback

# Refuses while the bucket holds pictures; FORCE=1 removes them, too, and KEEP_BUCKET=1 keeps them and the bucket.
destroy: $(READY)
	@$(BIN)/python -m deploy.destroy $(if $(FORCE),--force) $(if $(KEEP_BUCKET),--keep-bucket)

# What the deployed functions of these names do, now: make rebuild STAGE=prod. Without STAGE, in this process, on
# the servers that BUCKET, REDIS_URL and AWS_ENDPOINT_URL name.
# make redrive FAILED=undecodable processes failed pictures again: those with this error code, or all.
# make remake makes thumbnails again that other settings have made, at most RATE pictures a second (5).
reconcile rebuild redrive remake: $(RUN)
	@$(BIN)/python -m deploy.maintain $@

# The packaged stack on MiniStack, and one suite of tests against its API.
e2e: $(READY)
	@$(BIN)/python -m deploy.package --architecture native --out build/e2e
	$(BIN)/python -m pytest tests/e2e --target ministack --junitxml $(JUNIT)/ministack.xml

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links \
		--no-header --upgrade requirements-run.in -o requirements-run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links \
		--no-header --upgrade requirements-dev.in --constraint requirements-run.txt -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.13 --no-emit-index-url --no-emit-find-links \
		--no-header --upgrade tests/e2e/requirements.in -o tests/e2e/requirements.txt

clean:
	rm -rf $(VENV) .venvs .venv-package .venv-ministack .venv-audit .venv-mutants .mutants build $(BENCH) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(RUN) $(READY): environment-%:
	@$(PYTHON) local/environment.py $*

bench: $(READY)
	$(BIN)/python -m benchmarks.service.throughput --write docs/measuring.md

# The alternatives that the benchmark and the scorecard compare with, apart from what the service needs.
BENCH := .bench
SHARP := sharp@0.35.5
# The reference decoder of placeholders, for tests/test_thumbhash.py.
THUMBHASH := thumbhash@0.1.1

bench-imaging: $(BENCH)/.ready
	$(BENCH)/python/bin/python -m benchmarks.imaging.speed --write

# Judges thumbnails in colour; no times, so that it may run beside other work.
bench-quality: $(BENCH)/.ready
	$(BENCH)/python/bin/python -m benchmarks.imaging.quality --write

bench-crop: $(BENCH)/.ready
	$(BENCH)/python/bin/python -m benchmarks.imaging.crop --write

# A Chromium or Chrome on PATH fills a column of its own.
scorecard: $(BENCH)/.ready
	$(BENCH)/python/bin/python -m benchmarks.imaging.scorecard

$(BENCH)/.ready: requirements.txt requirements-dev.txt benchmarks/imaging/requirements.txt \
		benchmarks/imaging/requirements-thumbor.txt
	$(PYTHON) -m venv --clear $(BENCH)/python
	$(BENCH)/python/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/imaging/requirements.txt
	$(PYTHON) -m venv --clear $(BENCH)/thumbor
	$(BENCH)/thumbor/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/imaging/requirements-thumbor.txt
	@if command -v npm >/dev/null; then \
		npm install --silent --prefix $(BENCH) --no-save --no-package-lock --no-audit --no-fund $(SHARP) $(THUMBHASH); \
	else echo "sharp and thumbhash are left out: there is no npm here."; fi
	@touch $@

cold-start: $(READY)
	$(BIN)/python -m benchmarks.aws.cold_start

# A few minutes and a gigabyte of memory: up to a million records.
bench-list: $(READY)
	$(BIN)/python -m benchmarks.service.list_pages --write docs/reliability.md

# PROFILE=steady|burst|soak; BASE_URL=http://... for a service that runs already, ALLOW_REMOTE=1 if elsewhere;
# USERS, SECONDS and REQUESTS for more or less of it. With none of these: all, and the tables of docs/reliability.md.
load: $(READY) $(BENCH)/locust/.ready
	@$(BIN)/python -m benchmarks.service.load $(or $(LOAD_OPTIONS),--write docs/reliability.md)

LOAD_OPTIONS = $(strip $(if $(PROFILE),--profile "$(PROFILE)") $(if $(BASE_URL),--base-url "$(BASE_URL)") \
	$(if $(ALLOW_REMOTE),--allow-remote) $(if $(USERS),--users "$(USERS)") \
	$(if $(SECONDS),--seconds "$(SECONDS)") $(if $(REQUESTS),--requests "$(REQUESTS)"))

$(BENCH)/locust/.ready: benchmarks/service/requirements.txt
	$(PYTHON) -m venv --clear $(BENCH)/locust
	$(BENCH)/locust/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/service/requirements.txt
	@touch $@

# A lost Redis, made again from buckets of 10,000 and 100,000 pictures: the table of docs/reliability.md.
bench-rebuild: $(READY)
	$(BIN)/python -m benchmarks.service.rebuild --write docs/reliability.md

# The pictures of the page in docs/; needs Chromium or Chrome.
screenshots: $(READY)
	$(BIN)/python -m tests.one_upload
	$(BIN)/python -m tests.browser.screenshots

# A longer run of what `make test-all` does for seconds: damaged pictures. make fuzz FUZZ_EXAMPLES=100000
fuzz: FUZZ_EXAMPLES ?= 20000
fuzz: $(READY)
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/test_imaging_fuzz.py -k mutations

# Every step with every fault, as `make test-all` runs them, and their count in docs/reliability.md made anew.
fault-matrix: $(READY)
	$(BIN)/python -m tests.faults.matrix --write docs/reliability.md

# Small mistakes in the code, one at a time: the tests have to notice. SAMPLE of them, which SEED chooses; the same
# command goes on with a run that was broken off, or was over after MINUTES. The score goes into docs/testing.md.
COSMIC_RAY := cosmic-ray@8.7.0
mutants: $(READY) .venv-mutants/.ready
	.venv-mutants/bin/python -m benchmarks.mutation --write docs/testing.md \
		--sample $(or $(SAMPLE),100) --seed $(or $(SEED),1) --minutes $(or $(MINUTES),120)

.venv-mutants/.ready: Makefile
	$(PYTHON) -m venv --clear .venv-mutants
	.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check $(subst @,==,$(COSMIC_RAY))
	@touch $@

# Asks PyPI whether what is pinned has known vulnerabilities; a mirror of PyPI cannot tell.
PIP_AUDIT := pip-audit@2.10.1
audit:
	$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check $(subst @,==,$(PIP_AUDIT))
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r requirements.txt
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r requirements-dev.txt
