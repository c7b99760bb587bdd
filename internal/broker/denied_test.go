package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
)

func TestDenials(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := newEvents(slog.New(slog.NewTextHandler(&out, nil)))
	denied := func(text string) string {
		out.Reset()
		e.failed(nil, nil, fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text))
		return out.String()
	}
	for text, want := range map[string]string{
		`Permissions Violation for Publish to "$JS.API.INFO"`:                                    "right=publish subject=$JS.API.INFO ",
		`Permissions Violation for Subscription to "a.>"`:                                        "right=subscribe subject=a.> ",
		`Permissions Violation for Subscription to "b" using queue "q"`:                          "right=subscribe subject=b ",
		`Permissions Violation for Subscription to "c" (sid "7")`:                                "right=subscribe subject=c ",
		`Permissions Violation for Publish to "$JS.API.CONSUMER.CREATE.KV_b.x8lo.$KV.b.account"`: "right=publish subject=$JS.API.CONSUMER.CREATE.KV_b.*.$KV.b.account ",
		`Permissions Violation for Subscription to "_INBOX_passcode-worker.x8lo.*"`:              "right=subscribe subject=_INBOX_passcode-worker.> ",
		`Permissions Violation for Publish with Reply of "$JS.ACK.S.C.1.1.1.1784.0"`:             "NATS reports an error",
		`Permissions Violation for Subscription to "d.e.f", too many tokens`:                     "right=subscribe subject=d.e.f ",
		`Something that a later server may say`:                                                  "NATS reports an error",
	} {
		line := denied(text)
		assert.Contains(t, line, want)
		assert.Contains(t, line, "level=ERROR")
		if strings.Contains(want, "subject=") {
			assert.Contains(t, line, "allow it to this user", "the mend")
			assert.Empty(t, denied(text), "once")
		}
	}
}

// A right with a wildcard is denied under as many subjects as there are keys.
func TestDenialsAreBounded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := &newEvents(slog.New(slog.NewTextHandler(&out, nil))).denied
	all := func() int {
		out.Reset()
		for i := range 10 * maxDenials {
			err := fmt.Errorf(`%w: Permissions Violation for Publish to "dead.b.%d"`, nats.ErrPermissionViolation, i)
			assert.True(t, d.logged(err))
		}
		return strings.Count(out.String(), "\n")
	}
	assert.Equal(t, maxDenials+1, all())
	assert.Contains(t, out.String(), "NATS denies more rights than are logged")
	assert.Zero(t, all())
	d.forget()
	assert.Equal(t, maxDenials+1, all(), "after a new connection")

	d.forget()
	out.Reset()
	for i := range 10 {
		assert.True(t, d.logged(fmt.Errorf(`%w: Permissions Violation for Publish to "$KV.b.%d"`, nats.ErrPermissionViolation, i)))
	}
	assert.Equal(t, 1, strings.Count(out.String(), "\n"), "a bucket is one right")
	assert.Contains(t, out.String(), "subject=$KV.b.*")
}
