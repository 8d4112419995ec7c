# `make` alone lists the targets. Everything needs Go; `make demo` needs Docker or Go.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules

# Arguments of `outboxd demo`, such as ARGS=--keep.
ARGS ?=
# Time for each fuzz target, and packages for `make test` and `make cover`.
FUZZTIME ?= 10s
PACKAGES ?= ./...
# The version in the binaries where the module system does not know it.
VERSION ?=

GO_BUILD = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w$(if $(VERSION), -X main.release=$(VERSION))'
STATICCHECK = go tool -modfile=tools.mod staticcheck
# Compiling it takes one to two minutes, once for each version.
GOLANGCI = go tool -modfile=tools.mod golangci-lint
# Packages whose tests need no database, and together about ten seconds.
QUICK = . ./outbox ./store/memory $(patsubst %,./%/...,$(wildcard dispatcher/internal store/internal)) ./providers/... ./cmd/api/payments ./cmd/api/webhook $(addprefix ./cmd/internal/,bench config demo extjson metrics term)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/outboxd and bin/outbox-api, static
	$(GO_BUILD) -o bin/outboxd ./cmd/outboxd
	$(GO_BUILD) -o bin/outbox-api ./cmd/api

.PHONY: image
image: ## Build the container image outboxd (needs Docker)
	docker build -t outboxd $(if $(VERSION),--build-arg VERSION=$(VERSION) ).

.PHONY: demo
demo: ## Show the whole story on this machine or in containers: intents, faults, effects
	@scripts/demo $(ARGS)

.PHONY: test
test: some-mongodb ## Run all tests with the race detector, on a real MongoDB
	scripts/test-race -timeout 30m $(PACKAGES)
	go test -timeout 10m -run '^(TestOversizedIntents|TestAStreamOfHostileIntentsHarmsNobody)$$' ./integration
	go test -timeout 10m -run '^(TestPoisonsStopNobody|TestAPoisonThatMeetsServerErrorsSpendsItsAttempts|TestLookUpsStopNobody|TestWrongCredentialsCostNothing)$$' ./dispatcher

.PHONY: contract
contract: some-mongodb ## Hold providers and simulator against what the vendors publish, and module producer against the contract
	go test -C producer ./...
	go test -C producer/contractcheck -race -timeout 5m ./...
	go test -C providers/simulator/contractcheck -timeout 5m ./...

.PHONY: producers
producers: some-mongodb ## Run the Rust page of docs/producers, whose driver takes a minute to compile
	go test -tags rust -timeout 20m -run '^TestPages$$/^rust' ./integration/producers

.PHONY: browser
browser: some-mongodb ## Use the shop and read the API's page in Chromium, by keyboard (PICTURES=docs/api keeps screenshots)
	@CHROMIUM=$$(scripts/get-chromium); export CHROMIUM; \
	BROWSER_PICTURES=$(if $(PICTURES),$(abspath $(PICTURES))) go test -tags browser -count=1 -timeout 8m -run '^TestPagesInChromium$$' ./integration

.PHONY: page
page: some-mongodb ## Use the operators' page in Chromium, by keyboard and without scripts (PICTURES=directory keeps screenshots)
	@CHROMIUM=$$(scripts/get-chromium); export CHROMIUM; \
	BROWSER_PICTURES=$(if $(PICTURES),$(abspath $(PICTURES))) go test -tags browser -count=1 -timeout 18m -run '^TestPageInChromium$$' ./admin/page

.PHONY: alerts
alerts: some-mongodb ## Check alerts and dashboard, and let a real Prometheus scrape a real worker through real faults
	@PROMETHEUS=$$(scripts/get-prometheus); export PROMETHEUS; \
	"$$PROMETHEUS/promtool" check rules deploy/prometheus/rules.yaml; \
	"$$PROMETHEUS/promtool" test rules deploy/prometheus/rules_test.yaml; \
	go test -tags prometheus -count=1 -timeout 8m -run '^TestPrometheus' ./integration

.PHONY: bench-admin
bench-admin: some-mongod ## Measure the operators' page beside ten million intents and a worker (BENCH_ADMIN_INTENTS=N for fewer)
	go test -tags scale -count=1 -v -timeout 60m -run '^TestAdminAtScale$$' ./cmd/outboxd

.PHONY: cover
cover: some-mongodb ## Run all tests and write coverage.html
	go test -timeout 10m -coverpkg=./... -coverprofile=coverage.out $(PACKAGES)
	go tool cover -html=coverage.out -o coverage.html
	go tool cover -func=coverage.out | tail -n 1

.PHONY: chaos
chaos: some-mongod ## Try to break outboxd for five minutes: kill, freeze and cut off everything (ARGS=--help)
	go run ./integration/chaos $(ARGS)

# A seed whose minute holds nearly every kind of fault.
CHAOS_SEEDS ?= 198053
.PHONY: chaos-short
chaos-short: some-mongod ## Each kind of trouble alone, then the same for about a minute with a fixed seed
	go test -race -tags chaos -timeout 15m ./integration/chaos
	@for seed in $(CHAOS_SEEDS); do go run ./integration/chaos --seed $$seed --length 45s --quiet; done

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@failed=; while read -r package name; do \
		echo "$$package $$name"; \
		go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$package" || failed="$$failed $$package/$$name"; \
	done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/^\(.*\)\/[^/]*:func /\1 /'); \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

.PHONY: lint
lint: ## Check form, vet, linters (.golangci.yml), prose, and that `go fix` has nothing to modernise
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then printf 'not formatted, run gofmt -w:\n%s\n' "$$files" >&2; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	go fix -diff ./...
	$(GOLANGCI) run ./...
	go test -run '^Test(Prose|Hard|Documentation)' .

.PHONY: check
check: lint ## Lint, and the tests that need ten seconds and no database
	go test -C producer ./...
	@go test -short $(QUICK) 2>&1 | grep -v 'no test files'

.PHONY: docs
docs: ## Generate what is generated: docs/codes.md, docs/metrics.md and the dashboard
	go generate ./...

.PHONY: spec
spec: ## Check the model of the protocol in docs/spec (needs spin and gcc)
	@scripts/check-spec

.PHONY: mongod
mongod: ## Put a mongod into .cache/mongod without Docker (x86-64 Linux, needs pip)
	@scripts/get-mongod

.PHONY: clean
clean: ## Remove what the other targets made, but for .cache/mongod
	rm -rf bin coverage.out coverage.html .cache/producers

# The chaos run needs members of its own to kill.
.PHONY: some-mongod
some-mongod:
	@scripts/have-mongodb mongod >/dev/null || scripts/get-mongod

# Fetches a mongod only where tests would find no MongoDB at all.
.PHONY: some-mongodb
some-mongodb:
	@scripts/have-mongodb OUTBOXD_TEST_MONGODB_URI mongod docker >/dev/null || scripts/get-mongod
