package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// onceTimeout bounds the try of one address, from the dial to the server's
// greeting.
const onceTimeout = 5 * time.Second

// ConnectOnce tries each address once and says why none could be had, for somebody
// who wants to know rather than wait. It leaves when ctx ends. The connection it
// returns is as that of [Connect].
func ConnectOnce(ctx context.Context, o Options, log *slog.Logger) (*nats.Conn, error) {
	options, err := o.connection(log)
	if err != nil {
		return nil, err
	}
	d := &onceDialer{ctx: ctx}
	nc, err := nats.Connect(o.servers(), append(options,
		nats.RetryOnFailedConnect(false), nats.Timeout(onceTimeout),
		nats.SetCustomDialer(d), nats.SkipHostLookup())...) // the dialer looks hosts up itself
	last := d.release()
	switch {
	case err == nil:
		return nc, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, nats.ErrNoServers):
		err = cmp.Or(last, err) // which says no more than that
	}
	return nil, errors.New(redact(err.Error()))
}

// onceDialer makes the connections of one call of ConnectOnce, which the client
// library would otherwise go on with after its context has ended.
type onceDialer struct {
	ctx context.Context

	mu       sync.Mutex
	released bool
	last     error         // of the last address that could not be dialled
	unhook   []func() bool // of each connection that was made
}

// Dial implements the client's interface.
func (d *onceDialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx := d.ctx
	if d.released { // a reconnect, which has nothing to do with that context
		ctx = context.Background()
	}
	conn, err := (&net.Dialer{Timeout: onceTimeout}).DialContext(ctx, network, address)
	if err != nil {
		d.last = err
		return nil, fmt.Errorf("dial: %w", err)
	}
	if !d.released {
		d.unhook = append(d.unhook, context.AfterFunc(ctx, func() { _ = conn.Close() })) // what reads from it sees so
	}
	return conn, nil
}

// release lets the connections outlive the context, and returns why the last
// address could not be dialled.
func (d *onceDialer) release() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = true
	for _, unhook := range d.unhook {
		unhook()
	}
	return d.last
}
