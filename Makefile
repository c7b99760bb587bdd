.DEFAULT_GOAL := help

# What the images are built for: Linux, on this machine's processor unless ARCH says otherwise.
ARCH ?= $(shell go env GOARCH)

# How long each target is fuzzed, how many at once, and which.
FUZZTIME ?= 1m
FUZZJOBS ?= 1
FUZZ ?= .

.PHONY: help build test race lint fmt fuzz images up down demo ci clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

build: ## Build bin/worker and bin/nats-server, static
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/worker ./cmd/worker
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/nats-server github.com/nats-io/nats-server/v2

test: ## Run the tests, a few minutes
	go test ./...

race: ## Run all tests, also those that take minutes, with the race detector; Docker must answer
	TEST_ALL=1 REQUIRE_DOCKER=1 go test -race ./...

lint: ## Run golangci-lint
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

fmt: ## Format the code
	gofmt -w .

fuzz: ## Fuzz each target: FUZZTIME=10m, FUZZJOBS=2 at once, FUZZ='aliyun|Decode'
	go run ./test/fuzz -time $(FUZZTIME) -jobs $(FUZZJOBS) -match '$(FUZZ)'

images: ## Build the images passcode-worker and passcode-worker-nats
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -ldflags='-s -w' -o bin/linux/$(ARCH)/ ./cmd/worker github.com/nats-io/nats-server/v2
	docker build --build-arg TARGETARCH=$(ARCH) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null) -t passcode-worker .
	docker build --build-arg TARGETARCH=$(ARCH) -f build/nats/Dockerfile -t passcode-worker-nats .

# The files of "make down": those of the cluster too, whether it runs or not.
COMPOSE ?= $(shell command -v docker-compose || echo docker compose)
cluster := -f docker-compose.yml -f docker-compose.cluster.yml

up: ## Start NATS, an emulated Aliyun and two workers
	$(COMPOSE) up -d

down: ## Stop them, or the cluster of docker-compose.cluster.yml, and forget their data
	$(COMPOSE) $(cluster) down --volumes --remove-orphans

demo: ## Show every path that a job can take
	go run ./cmd/worker demo

ci: ## Run what the pipeline runs
	.ci/run

clean: ## Remove what was built
	rm -rf bin coverage.out
