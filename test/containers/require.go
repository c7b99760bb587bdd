package containers

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// pingTimeout bounds the question whether an engine is there.
const pingTimeout = 10 * time.Second

// Require skips the test where no Docker engine answers, and fails it there
// where REQUIRE_DOCKER is set to anything but 0 or false.
func Require(t testing.TB) {
	t.Helper()
	err := engine()
	if err == nil {
		return
	}
	Missing(t, fmt.Sprintf("no Docker engine answers: %v", err))
}

// Missing ends a test for want of something that it needs of Docker: skipped, or
// failed where REQUIRE_DOCKER is set.
func Missing(t testing.TB, what string) {
	t.Helper()
	if required(os.Getenv("REQUIRE_DOCKER")) {
		t.Fatalf("REQUIRE_DOCKER is set and %s", what)
	}
	t.Skipf("%s, so nothing is tested here (REQUIRE_DOCKER=1 makes this a failure)", what)
}

func required(setting string) bool {
	switch strings.ToLower(setting) {
	case "", "0", "false":
		return false
	default:
		return true
	}
}

// engine asks once for each test process.
var engine = sync.OnceValue(func() error {
	p, err := provider()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), pingTimeout,
		fmt.Errorf("no answer within %v", pingTimeout))
	defer cancel()
	return p.Health(ctx)
})

// provider is this process's way to the engine.
var provider = sync.OnceValues(func() (*testcontainers.DockerProvider, error) {
	setDefaults()
	return testcontainers.NewDockerProvider(quiet)
})

// setDefaults must run before testcontainers is first used, since it reads the
// environment once.
func setDefaults() {
	for name, value := range map[string]string{
		"TESTCONTAINERS_RYUK_DISABLED": "true",
		"TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
	} {
		if _, ok := os.LookupEnv(name); !ok {
			// Setenv fails for malformed names only.
			_ = os.Setenv(name, value)
		}
	}
	log.SetDefault(log.NewNoopLogger())
}

// quiet keeps a provider from reporting each step on standard error.
var quiet = testcontainers.Generic2DockerOptions(testcontainers.WithLogger(log.NewNoopLogger()))[0]
