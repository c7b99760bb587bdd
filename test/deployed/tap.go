package deployed

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Tap stands between the clients of one user and the server, and notes what they
// ask of it. So a test can tell which rights were made use of.
type Tap struct {
	t    testing.TB
	user string
	to   string // host:port of the server

	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	sent  []*noted
}

// noted is what one client sent.
type noted struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *noted) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

// Tap returns a tap for a user's clients.
func (b *Broker) Tap(t testing.TB, user string) *Tap {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("deployed: %v", err)
	}
	tap := &Tap{t: t, user: user, to: strings.TrimPrefix(b.URL(), "nats://"), listener: listener}
	tap.running.Go(tap.accept)
	t.Cleanup(tap.close)
	return tap
}

// URL is where the clients connect, with their name and password.
func (tap *Tap) URL() string {
	return "nats://" + tap.user + ":" + Password + "@" + tap.listener.Addr().String()
}

func (tap *Tap) accept() {
	for {
		client, err := tap.listener.Accept()
		if err != nil {
			return // closed
		}
		upstream, err := net.Dial("tcp", tap.to)
		if err != nil {
			tap.t.Errorf("deployed: %v", err)
			_ = client.Close() // the client sees it
			return
		}
		sent := &noted{}
		tap.mu.Lock()
		tap.conns = append(tap.conns, client, upstream)
		tap.sent = append(tap.sent, sent)
		tap.mu.Unlock()
		tap.running.Go(func() { pass(upstream, io.TeeReader(client, sent)) })
		tap.running.Go(func() { pass(client, upstream) })
	}
}

// pass copies until one side ends, and then ends the other.
func pass(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from) // whichever side ended, the other one learns it
	_ = to.Close()
}

func (tap *Tap) close() {
	_ = tap.listener.Close() // it was only listened to
	tap.mu.Lock()
	for _, c := range tap.conns {
		_ = c.Close() // most are closed already
	}
	tap.mu.Unlock()
	tap.running.Wait()
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
		sent.mu.Lock()
		for _, match := range of.FindAllSubmatch(sent.text.Bytes(), -1) {
			found[string(match[1])] = true
		}
		sent.mu.Unlock()
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
