.DEFAULT_GOAL := help

.PHONY: help build test race lint fmt fuzz images up down demo ci clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

build: ## Build bin/worker and bin/nats-server, static
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/worker ./cmd/worker
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/nats-server github.com/nats-io/nats-server/v2

test: ## Run all tests
	go test ./...

race: ## Run all tests with the race detector; Docker must answer
	REQUIRE_DOCKER=1 go test -race ./...

lint: ## Run golangci-lint
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

fmt: ## Format the code
	gofmt -w .

fuzz: ## Fuzz the job decoder for a minute
	go test -run=NONE -fuzz='^FuzzDecode$$' -fuzztime=1m ./passcode

images: build ## Build the images passcode-worker and passcode-worker-nats
	docker build -t passcode-worker .
	docker build -f build/nats/Dockerfile -t passcode-worker-nats .

up: ## Start NATS, an emulated Aliyun and two workers
	docker-compose up -d

down: ## Stop them and forget their data
	docker-compose down -v

demo: ## Show every path that a job can take
	go run ./cmd/worker demo

ci: ## Run what the pipeline runs
	.ci/run

clean: ## Remove what was built
	rm -rf bin coverage.out
