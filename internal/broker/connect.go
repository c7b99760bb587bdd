// Package broker connects the worker to NATS, runs a NATS server inside the
// worker where that is asked for, and provisions the streams, buckets and the
// consumer that the worker needs.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	dialTimeout     = 2 * time.Second
	reconnectWait   = 500 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
	// A link that died without a word, as one to a server that was cut off, is
	// noticed after two pings without an answer: 4 to 6 seconds, about as long as a
	// cluster takes to elect another leader. The client's own default is six minutes.
	pingInterval = 2 * time.Second
	maxPings     = 2
	// The client holds its lock while it writes, so that nothing else can be done on
	// the connection meanwhile, not even a ping. Where the socket's buffer is full of
	// requests that a server which was cut off doesn't take, that lasts until here;
	// the client's own default is a minute.
	writeTimeout = 4 * time.Second
)

// Connect returns a connection that keeps itself up: it starts before the broker
// does, and comes back however long the broker was away. It returns once every
// address was tried at most once, connected or not; see [WaitConnected].
//
// What is published while the link is down fails at once with
// [nats.ErrReconnectBufExceeded]. Nothing is kept to be sent later: a write that
// its caller has given up on must not go out after all, and callers repeat what
// failed (see package retry).
//
// A wrong setting is an error that names the settings key. A broker that refuses
// the credentials is not: it may be the broker whose settings are being mended,
// so the refusal is logged and the connection goes on trying.
//
// The caller closes the connection.
func Connect(ctx context.Context, o Options, log *slog.Logger) (*nats.Conn, error) {
	options, err := o.connection(log)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
	}
	nc, err := nats.Connect(o.servers(), options...)
	if err != nil {
		// What can still fail here is an option that contradicts another; the
		// text comes from the client and may quote an address.
		return nil, fmt.Errorf("connect to NATS: %s", redact(err.Error()))
	}
	if ctx.Err() != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
	}
	return nc, nil
}

// connection returns the options of every connection of ours.
func (o Options) connection(log *slog.Logger) ([]nats.Option, error) {
	options, err := o.natsOptions()
	if err != nil {
		return nil, err
	}
	options = append(options,
		nats.Name(o.Name),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
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
	if o.Inbox != "" {
		options = append(options, nats.CustomInboxPrefix(o.Inbox))
	}
	events := newEvents(log)
	events.inbox = o.Inbox
	return append(options, events.options()...), nil
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
