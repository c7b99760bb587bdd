package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

// startWorker starts a worker on the stage, and returns when it takes jobs.
func (st *stage) startWorker(ctx context.Context) error {
	c, err := system.StartSelf(st.dir, st.workerEnv(), st.logFile, "run")
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	st.worker = c
	return st.untilPulling(ctx, c)
}

// untilPulling waits for the worker's pull to arrive at the consumer.
func (st *stage) untilPulling(ctx context.Context, c *system.Child) error {
	defaults := config.Default()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		consumer, err := st.link.JS.Consumer(ctx, defaults.Jobs.Stream, defaults.Jobs.Consumer)
		if err == nil && consumer.CachedInfo().NumWaiting > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		select {
		case <-tick.C:
		case <-c.Done:
			return fmt.Errorf("the worker ended: its log is in %s", st.keepLog())
		case <-ctx.Done():
			return fmt.Errorf("the worker takes no jobs: %w", context.Cause(ctx))
		}
	}
}

// workerEnv is the environment of the demo's workers: short times, so that
// everything can be watched.
func (st *stage) workerEnv() []string {
	env := system.OwnEnviron(st.e.Environ)
	for key, value := range map[string]string{
		"nats.url":                 st.embedded.URL(),
		"aliyun.endpoint":          st.endpoint,
		"aliyun.protocol":          "http",
		"aliyun.access_key_id":     emulator.DefaultAccessKeyID,
		"aliyun.access_key_secret": emulator.DefaultAccessKeySecret,
		"aliyun.sign_name":         "Demo",
		"aliyun.templates":         `[{"usage_type":"Generic","template_code":"SMS_100000001"},{"usage_type":"SignIn","template_code":{"china":"SMS_100000002","overseas":"SMS_100000003"}}]`,
		"aliyun.timeout":           "1s",
		"aliyun.connect_timeout":   "500ms",
		"aliyun.in_doubt.lookups":  `["1s","2s","3s"]`,
		"worker.ack_wait":          "3s",
		"worker.shutdown_timeout":  "5s",
		"retry.initial_interval":   "300ms",
		"http.listen":              "",
	} {
		env = append(env, "PASSCODE_"+strings.ToUpper(strings.ReplaceAll(key, ".", "__"))+"="+value)
	}
	return env
}
