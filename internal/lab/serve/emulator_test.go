package serve

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
)

func TestNegativeFlagsAreRefused(t *testing.T) {
	t.Parallel()
	stop, cancel := context.WithCancel(t.Context())
	cancel() // where it is not refused it must not serve either
	for _, c := range []Cmd{
		{Options: emulator.Options{Latency: -time.Second}},
		{Options: emulator.Options{LookupLag: -1}},
		{Options: emulator.Options{MaxQPS: -1}},
	} {
		var out strings.Builder
		c.Listen = "127.0.0.1:0"
		var usage app.UsageError
		err := c.Run(&command.Env{Stop: stop, Force: stop, Stdout: &out, Stderr: &out})
		assert.ErrorAs(t, err, &usage, c)
		assert.ErrorContains(t, err, "must not be negative", c)
	}
}
