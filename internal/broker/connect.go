// Package broker connects the worker to NATS, runs a NATS server inside the
// worker where that is asked for, and provisions the streams, buckets and the
// consumer that the worker needs.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

const (
	// dialTimeout bounds one try of one address, up to the server's greeting.
	dialTimeout     = 2 * time.Second
	reconnectWait   = 500 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
	// A dead link is noticed after two pings without an answer: 4 to 6 seconds, about
	// as long as a cluster takes to elect another leader. The client's default is six
	// minutes.
	pingInterval = 2 * time.Second
	maxPings     = 2
	// The client can't even ping while it writes. With a full socket and a server that
	// was cut off, that lasts until here; the client's default is a minute.
	writeTimeout = 4 * time.Second
)

// NATS server 2.11 brought the consumer pause that stops all replicas at once.
const minMajor, minMinor = 2, 11

// Connect returns a connection that keeps itself up, also where the broker starts
// later or is away for long. It returns once every address was tried, connected or
// not; see [WaitConnected]. The caller closes it. name is shown in the broker's own
// listings; inbox, [WorkerInbox] or [CommandInbox], is where its answers are sent.
//
// What is published while the link is down fails at once with
// [nats.ErrReconnectBufExceeded]: a write that its caller has given up on must not go
// out later. Callers repeat what failed (see package retry).
//
// A wrong setting is an error that names the settings key. A broker that refuses
// the credentials is not, since the fix may be made there: the refusal is logged and
// the connection tries again.
func Connect(ctx context.Context, n config.NATS, name, inbox string, log *slog.Logger) (*nats.Conn, error) {
	return connect(ctx, n, name, inbox, log, true)
}

// ConnectOnce is [Connect] for somebody who wants to know rather than wait: it tries
// each address once and says why none could be reached.
func ConnectOnce(ctx context.Context, n config.NATS, name, inbox string, log *slog.Logger) (*nats.Conn, error) {
	return connect(ctx, n, name, inbox, log, false)
}

func connect(ctx context.Context, n config.NATS, name, inbox string, log *slog.Logger, again bool) (*nats.Conn, error) {
	options, err := natsOptions(n)
	if err != nil {
		return nil, err
	}
	options = append(options, newEvents(log, inbox).options()...)
	options = append(options,
		nats.RetryOnFailedConnect(again),
		nats.Name(name),
		nats.CustomInboxPrefix(inbox),
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		// Without it the client closes for good when a server refuses it twice
		// with the same words.
		nats.IgnoreAuthErrorAbort(),
	)
	nc, err := nats.Connect(n.URL.Reveal(), options...)
	switch {
	case ctx.Err() != nil:
		nc.Close()
		return nil, fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
	case errors.Is(err, nats.ErrNoServers): // what the client makes of it
		return nil, errors.New("connection refused")
	case err != nil:
		return nil, errors.New(redact(err.Error())) // it may quote an address
	}
	return nc, nil
}

// WaitConnected returns once the connection is up. Where the context ends first,
// its error says so and why the last try to connect failed.
func WaitConnected(ctx context.Context, nc *nats.Conn) error {
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	for {
		switch nc.Status() {
		case nats.CONNECTED:
			return nil
		case nats.CLOSED:
			return errors.New("wait for NATS: the connection is closed")
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err := fmt.Errorf("wait for NATS: %w", context.Cause(ctx))
			if last := nc.LastError(); last != nil {
				err = fmt.Errorf("%w; last try: %s", err, redact(last.Error()))
			}
			return err
		}
	}
}

// CheckServer says whether the connected server is new enough.
func CheckServer(nc *nats.Conn) error {
	if !nc.IsConnected() {
		return errors.New("check NATS server: not connected")
	}
	return checkVersion(nc.ConnectedServerVersion())
}

// checkVersion reads the likes of "2.11.4" and "2.12.0-RC.1".
func checkVersion(version string) error {
	shown := text.Line(version, 40) // a server may say anything
	var major, minor int
	if n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); n < 2 {
		return fmt.Errorf("check NATS server: can't read its version %q", shown)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return fmt.Errorf("NATS server is version %s, at least %d.%d is needed: upgrade the server", shown, minMajor, minMinor)
	}
	return nil
}
