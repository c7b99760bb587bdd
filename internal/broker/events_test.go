package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func eventLog() (*bytes.Buffer, *events) {
	out := &bytes.Buffer{}
	return out, &events{log: slog.New(slog.NewTextHandler(out, nil))}
}

func TestDenials(t *testing.T) {
	t.Parallel()
	out, e := eventLog()
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
			assert.Contains(t, line, "fix=\"allow it to this user")
			assert.Empty(t, denied(text), "once")
		}
	}
}

// A right with a wildcard is denied under as many subjects as there are keys.
func TestDenialsAreBounded(t *testing.T) {
	t.Parallel()
	out, e := eventLog()
	deny := func(format string) int {
		out.Reset()
		for i := range 1000 {
			e.failed(nil, nil, fmt.Errorf(`%w: Permissions Violation for Publish to "`+format+`"`, nats.ErrPermissionViolation, i))
		}
		return strings.Count(out.String(), "\n")
	}
	first := deny("dead.b.%d")
	assert.Less(t, first, 100)
	assert.Zero(t, deny("dead.b.%d"))
	e.told.Forget()
	assert.Equal(t, first, deny("dead.b.%d"), "after a new connection")
	e.told.Forget()
	assert.Equal(t, 1, deny("$KV.b.%d"), "a bucket is one right")
	assert.Contains(t, out.String(), "subject=$KV.b.*")
}

// TestALostConnectionIsToldOnce, and the watch that says so every ten seconds is not
// heard at all.
func TestALostConnectionIsToldOnce(t *testing.T) {
	t.Parallel()
	out, e := eventLog()
	for range 10 {
		e.notConnected(errors.New("dial tcp 127.0.0.1:4222: connect: connection refused"))
		e.failed(nil, nil, nats.ErrConsumerNotActive)
	}
	assert.Equal(t, 1, strings.Count(out.String(), "\n"), out)
	assert.Contains(t, out.String(), "can't connect to NATS; trying again")
	e.notConnected(errors.New("no such host"))
	assert.Equal(t, 2, strings.Count(out.String(), "\n"), "another reason is news")
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"2.11.0": "", "2.11.0-RC.1": "", "2.15.2": "", "3.0.0": "", "v2.12.1": "", "2.11": "",
		"2.10.29": "at least 2.11", "1.4.1": "at least 2.11", "0.0.1": "at least 2.11",
		"": "can't read", "2": "can't read", "two.eleven": "can't read",
	} {
		err := checkVersion(version)
		if want == "" {
			assert.NoError(t, err, version)
			continue
		}
		require.ErrorContains(t, err, want, version)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`dial nats://user:secret@10.0.0.1:4222: refused`:       `dial nats://****@10.0.0.1:4222: refused`,
		`parse "nats://u:se@cret@h": bad`:                      `parse "nats://****@h": bad`,
		`tls://secret-token@h:1, ws://u:secret@i`:              `tls://****@h:1, ws://****@i`,
		`dial tcp 127.0.0.1:4222: connect: connection refused`: `dial tcp 127.0.0.1:4222: connect: connection refused`,
		`mail ops@example.org`:                                 `mail ops@example.org`,
	} {
		assert.Equal(t, want, redact(text))
	}
}

func FuzzRedactLeavesNoPassword(f *testing.F) {
	f.Add("user", "secret")
	f.Add("", "a@b/c")
	f.Fuzz(func(t *testing.T, user, password string) {
		if len(password) < 4 || strings.ContainsAny(user+password, " \t\r\n\f\v\"'*") {
			t.Skip("white space and quotes end a URL")
		}
		shown := redact("dial nats://" + user + ":" + password + "@host: refused")
		const without = "dial nats://****@host: refused"
		if strings.Contains(without, password) {
			t.Skip("the password is a part of what is shown in any case")
		}
		assert.NotContains(t, shown, password)
	})
}

// No test listens beyond this machine: here the store can't be used.
func TestAnEmbeddedServerBeyondThisMachine(t *testing.T) {
	t.Parallel()
	for host, exposed := range map[string]bool{
		"127.0.0.1": false, "[::1]": false, "localhost": false, "": true, "0.0.0.0": true, "[::]": true, "192.0.2.1": true,
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		_, err := StartEmbedded(host+":0", "main_test.go", log)
		require.ErrorContains(t, err, "store_dir", host)
		assert.Equal(t, exposed, strings.Contains(out.String(), "without asking for credentials"), host)
	}
}

func TestServerLogHoldsNoPassword(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &serverLog{log: slog.New(slog.NewTextHandler(&out, nil)), fatal: make(chan string, 1)}
	l.Noticef("notice")
	l.Debugf("debug")
	l.Tracef("trace")
	l.Warnf("route %s", "nats://user:secret@host")
	l.Errorf("route %s", "nats://user:secret@host")
	l.Fatalf("first: %s", "nats://user:secret@host")
	l.Fatalf("second: %s", "nats://user:secret@host")
	assert.Equal(t, "first: nats://****@host", <-l.fatal)
	assert.Equal(t, 3, strings.Count(out.String(), "\n"))
	assert.NotContains(t, out.String(), "secret")
}
