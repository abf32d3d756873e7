# Every target that a developer or CI needs; `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHTIME ?= 1s
FUZZTIME ?= 20s
BIN := bin

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the four programs into bin/
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/ ./cmd/flowstitch ./services/...

.PHONY: build-pgo
build-pgo: ## the same, compiled with the profile of the pipeline: about a tenth cheaper to run, minutes to build
	CGO_ENABLED=0 go build -trimpath -pgo=internal/bench/pipeline.pgo -o $(BIN)/ ./cmd/flowstitch ./services/...

.PHONY: test
test: lint vulncheck test-race k8s-test ## everything: linters, -race, real Kafka, Kinesis emulators, manifests

.PHONY: test-race
test-race: ## all tests with the race detector, real components where they can be had
	FLOWSTITCH_REAL=1 go test -race -timeout 30m ./...

.PHONY: test-long
test-long: ## the long cuts: kill tests, reshards, soaks (an hour or more)
	FLOWSTITCH_REAL=1 FLOWSTITCH_LONG=1 go test -timeout 180m ./...

.PHONY: lint
lint: ## gofmt, go vet, golangci-lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt'ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run $(GOLANGCI) run --allow-parallel-runners ./...

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what we depend on
	$(SHELL) hack/vulncheck.sh

.PHONY: bench
bench: ## benchmarks with the ratio to their baselines
	go run ./internal/benchratio -benchtime $(BENCHTIME)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@go list ./... | while read -r p; do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; done; done

.PHONY: eval
eval: ## judge the detectors on labelled traffic and write docs/evaluation.md
	FLOWSTITCH_EVAL_WRITE=1 go test ./pkg/eval -run "TestEvaluation|TestGenerated|TestVariety" -count=1 -timeout 40m -v

.PHONY: kafka
kafka: ## a local Apache Kafka on 127.0.0.1:9092, on a JVM with jars from Maven
	go run ./hack/kafka

.PHONY: k8s-test
k8s-test: ## render every overlay and check it with the API server's own code
	$(SHELL) hack/k8s-test.sh

.PHONY: k8s-cluster-test
k8s-cluster-test: ## apply every overlay to a control plane built from Go modules (slow, optional)
	$(SHELL) hack/k8s-cluster-test.sh

.PHONY: images
images: ## reproducible OCI images of the four programs, amd64 and arm64, with SBOM
	$(SHELL) hack/images.sh

.PHONY: example
example: ## write examples/incident.log.gz again
	$(SHELL) examples/incident.sh
