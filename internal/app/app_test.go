package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
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

// TestTeardown: the last thing built goes first, each step is bounded, and one that
// fails keeps no other from being taken.
func TestTeardown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var order []string
		var down teardown
		down.later("first", func(context.Context) error { order = append(order, "first"); return nil })
		down.later("stuck", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		down.background("background", func(ctx context.Context) { <-ctx.Done(); order = append(order, "background") })
		down.later("broken", func(context.Context) error { return errors.New("broken off") })
		began := time.Now()
		err := down.close()
		assert.EqualError(t, err, "close broken: broken off\nclose stuck: took longer than 5s")
		assert.Equal(t, []string{"background", "first"}, order)
		assert.Equal(t, stepTimeout, time.Since(began))
	})
}
