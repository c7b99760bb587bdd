package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/config"
)

// TestPrefetch: what waits in the worker is taken up well within its lease, at
// the lowest pace too.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		concurrency, qps int
		ackWait          time.Duration
		want             int
	}{
		{256, 0, 30 * time.Second, 60},
		{256, 0, 60 * time.Second, 64},
		{8, 0, 30 * time.Second, 8},
		{256, 1, 30 * time.Second, 20},
		{256, 5000, 30 * time.Second, 60},
		{256, 0, 200 * time.Millisecond, 1},
	} {
		cfg := config.Default()
		cfg.Worker.Concurrency, cfg.Aliyun.MaxQPS, cfg.Worker.AckWait = row.concurrency, row.qps, row.ackWait
		assert.Equal(t, row.want, prefetch(cfg), "%+v", row)
	}
}
