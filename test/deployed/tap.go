package deployed

import (
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/passcode-worker/passcode-worker/test/fake"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// Tap stands between the clients of one user and the server, and notes what they
// ask of it. So a test can tell which rights were made use of.
type Tap struct {
	t    testing.TB
	user string
	link *harness.Link

	mu   sync.Mutex
	sent []*fake.Buffer // of each client
}

// Tap returns a tap for a user's clients.
func (b *Broker) Tap(t testing.TB, user string) *Tap {
	t.Helper()
	tap := &Tap{t: t, user: user}
	tap.link = harness.HearLink(t, strings.TrimPrefix(b.URL(), "nats://"), func() io.Writer {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		sent := &fake.Buffer{}
		tap.sent = append(tap.sent, sent)
		return sent
	})
	return tap
}

// URL is where the clients connect, with their name and password.
func (tap *Tap) URL() string {
	return "nats://" + tap.user + ":" + Password + "@" + tap.link.Addr()
}

// Lines of the protocol. Bodies stand on lines of their own; ours never look
// like one of these.
var (
	publishes  = regexp.MustCompile(`(?m)^H?PUB (\S+) `)
	subscribes = regexp.MustCompile(`(?m)^SUB (\S+) `)
)

// Unused lists the user's rights in the file that were not made use of, as in
// "publish passcode.send".
func (tap *Tap) Unused() []string {
	tap.t.Helper()
	rights := Rights(tap.t, tap.user)
	return append(
		without("publish ", rights.Publish.Allow, tap.subjects(publishes)),
		without("subscribe ", rights.Subscribe.Allow, tap.subjects(subscribes))...)
}

func without(what string, rights []string, subjects map[string]bool) []string {
	var unused []string
	for _, right := range rights {
		if !matchesAny(subjects, right) {
			unused = append(unused, what+right)
		}
	}
	return unused
}

func (tap *Tap) subjects(of *regexp.Regexp) map[string]bool {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	found := map[string]bool{}
	for _, sent := range tap.sent {
		for _, match := range of.FindAllStringSubmatch(sent.String(), -1) {
			found[match[1]] = true
		}
	}
	return found
}

func matchesAny(subjects map[string]bool, right string) bool {
	for subject := range subjects {
		if server.SubjectMatchesFilter(subject, right) {
			return true
		}
	}
	return false
}
