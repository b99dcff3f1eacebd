# Targets a person uses; `make help` lists them.

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
FUZZTIME ?= 10s

# The benchmark: sizes of its loads, runs of each program, namespaces of the
# last load, the osqueryi to compare with.
SOCKETS    ?= 1000 10000 100000
RUNS       ?= 7
NAMESPACES ?= 50
OSQUERYI   ?= osqueryi

# Go benchmarks: which, in which packages, and against which revision.
BENCH    ?= .
PACKAGES ?= ./...
REV      ?= HEAD

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Debian packages: the programs that tests compare with, and the C compiler
# that the race detector needs.
TEST_DEPS := iproute2 iptables lsof net-tools nftables procps util-linux gcc libc6-dev

.DEFAULT_GOAL := build
.PHONY: help build demo test test-deps race lint fuzz bench bench-docs bench-micro bench-compare install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/sockql
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build ## build, and ask three questions of this host
	@.ci/demo bin/sockql

test: ## run the tests; says at the end what was left out, and why
	CGO_ENABLED=0 $(GO) tool gotestsum --format pkgname-and-test-fails -- ./...
	cd internal/bench && CGO_ENABLED=0 "$$(cd ../.. && $(GO) tool -n gotestsum)" --format pkgname-and-test-fails -- ./...

test-deps: ## install the Debian packages without which some tests are left out (as root)
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(TEST_DEPS)

race: ## run the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) tool gotestsum --format pkgname-and-test-fails -- -race ./...

lint: ## gofmt, go vet on both architectures, staticcheck, the import rules
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	CGO_ENABLED=0 GOARCH=amd64 $(GO) vet ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) tool staticcheck ./...
	cd internal/bench && CGO_ENABLED=0 $(GO) vet ./... && CGO_ENABLED=0 "$$(cd ../.. && $(GO) tool -n staticcheck)" ./...
	CGO_ENABLED=0 $(GO) test -count=1 -run '^TestLayout' .

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

bench: build ## time sockql and the peers that are installed on loads of SOCKETS (as root: in namespaces)
	CGO_ENABLED=0 $(GO) -C internal/bench build -o $(CURDIR)/bin/bench/ ./cmd/...
	CGO_ENABLED=0 $(GO) test -c -o bin/bench/builtin.test ./tables/builtin
	bin/bench/measure -sockets '$(SOCKETS)' -runs $(RUNS) -namespaces $(NAMESPACES) \
		-sockql bin/sockql -osqueryi '$(OSQUERYI)' -sockload bin/bench/sockload \
		-gopsockets bin/bench/gopsockets -in-process bin/bench/builtin.test -o bin/bench/results.json
	bin/bench/report -i bin/bench/results.json -dir bin/bench

bench-docs: ## write what the last bench found into docs/benchmarks.md
	bin/bench/report -i bin/bench/results.json -dir docs/benchmarks -page docs/benchmarks.md

bench-micro: ## run the Go benchmarks BENCH of PACKAGES
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PACKAGES)

bench-compare: ## compare the Go benchmarks with those of revision REV
	CGO_ENABLED=0 GO='$(GO)' internal/bench/compare.sh '$(REV)' $(RUNS) '$(BENCH)' $(filter-out ./...,$(PACKAGES))

install: build ## install into PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 bin/sockql bin/sockql.ext $(DESTDIR)$(PREFIX)/bin
	bin/sockql man > $(DESTDIR)$(PREFIX)/share/man/man1/sockql.1
	bin/sockql completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sockql
	bin/sockql completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_sockql
	bin/sockql completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/sockql.fish

clean: ## remove what the other targets made
	rm -rf bin
