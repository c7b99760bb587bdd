package broker

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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

// No test listens beyond this machine, so the parts that see to it are tried
// alone.
func TestAnEmbeddedServerBeyondThisMachine(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]struct {
		dial    string
		exposed bool
	}{
		"127.0.0.1": {"127.0.0.1", false},
		"::1":       {"::1", false},
		"0.0.0.0":   {"127.0.0.1", true},
		"::":        {"127.0.0.1", true},
		"192.0.2.1": {"192.0.2.1", true},
	} {
		var out bytes.Buffer
		addr := &net.TCPAddr{IP: net.ParseIP(ip), Port: 4222}
		warnWhereExposed(newServerLog(slog.New(slog.NewTextHandler(&out, nil))), addr)
		assert.Equal(t, want.exposed, strings.Contains(out.String(), "without asking for credentials"), ip)
		assert.Equal(t, want.dial, reachable(addr.IP), ip)
	}
}

func TestServerLogHoldsNoPassword(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newServerLog(slog.New(slog.NewTextHandler(&out, nil)))
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
