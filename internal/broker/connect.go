// Package broker connects the worker to NATS, runs a NATS server inside the worker where that is asked for, and
// provisions the streams, buckets and the consumer that the worker needs.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

// NATS server 2.11 brought the consumer pause that stops all replicas at once.
const minMajor, minMinor = 2, 11

// connectTimeout bounds one try of one address, up to the server's greeting.
const connectTimeout = 2 * time.Second

// Connect returns a connection that keeps itself up, also where the broker starts later or is away for long. It
// returns once every address was tried, connected or not; see [WaitConnected]. The caller closes it. name is shown
// in the broker's own listings; inbox, [WorkerInbox] or [CommandInbox], is where its answers are sent. With
// nats.RetryOnFailedConnect(false) it says instead why no address could be reached.
//
// What is published while the link is down fails at once with [nats.ErrReconnectBufExceeded]: a write that its
// caller has given up on must not go out later. Callers repeat what failed (see package retry).
//
// A wrong setting is an error that names the settings key. A broker that refuses the credentials is not, since the
// fix may be made there: the refusal is logged and the connection tries again.
func Connect(ctx context.Context, n config.NATS, name, inbox string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	options, err := natsOptions(n)
	if err != nil {
		return nil, err
	}
	options = append(options, (&events{log: log, inbox: inbox}).options()...)
	options = append(options,
		nats.RetryOnFailedConnect(true),
		nats.Name(name),
		nats.CustomInboxPrefix(inbox),
		nats.Timeout(connectTimeout),
		nats.SetCustomDialer(dialer{net.Dialer{Timeout: connectTimeout}}),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500*time.Millisecond),
		nats.ReconnectJitter(500*time.Millisecond, 500*time.Millisecond),
		nats.ReconnectBufSize(-1),
		// A dead link is noticed after two pings without an answer: 4 to 6 seconds, about as
		// long as a cluster takes to elect another leader. The client's default is six minutes.
		nats.PingInterval(2*time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectOnFlusherError(),
		// Without it the client closes for good when a server refuses it twice with the same words.
		nats.IgnoreAuthErrorAbort(),
	)
	nc, err := nats.Connect(n.URL.Reveal(), append(options, more...)...)
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

// natsOptions reads every file once, so that a mistake shows at the start. The
// client reads them again each time it connects and so follows their renewal.
func natsOptions(n config.NATS) ([]nats.Option, error) {
	var options []nats.Option
	var problems []error
	add := func(key, problem string, option nats.Option, err error) {
		var set nats.Options
		if err == nil {
			err = option(&set) // which reads the files of TLS
		}
		if err == nil && set.UserJWT != nil {
			if _, err = set.UserJWT(); err == nil {
				_, err = set.SignatureCB(nil)
			}
		}
		// A parser's words may quote the file, so only what the system says of a file is kept.
		var path *fs.PathError
		switch {
		case err == nil:
			options = append(options, option)
		case errors.As(err, &path):
			problems = append(problems, fmt.Errorf("%s: %w", key, path))
		default:
			problems = append(problems, fmt.Errorf("%s: %s", key, problem))
		}
	}
	switch {
	case n.Creds != "":
		add("nats.creds", "the file holds no user JWT with its seed", nats.UserCredentials(n.Creds), nil)
	case n.NkeySeedFile != "":
		option, err := nats.NkeyOptionFromSeed(n.NkeySeedFile)
		add("nats.nkey_seed_file", "holds no user nkey seed", option, err)
	case n.User != "":
		options = append(options, nats.UserInfo(n.User, n.Password.Reveal()))
	case !n.Token.IsZero():
		options = append(options, nats.Token(n.Token.Reveal()))
	}
	if n.TLS.CA != "" {
		add("nats.tls.ca", "the file holds no PEM certificate", nats.RootCAs(n.TLS.CA), nil)
	}
	if n.TLS.Cert != "" {
		add("nats.tls.cert and nats.tls.key", "are no matching pair of PEM files", nats.ClientCert(n.TLS.Cert, n.TLS.Key), nil)
	}
	return options, errors.Join(problems...)
}

// WaitConnected returns once the connection is up. Where the context ends first,
// its error says so and why the last try to connect failed.
func WaitConnected(ctx context.Context, nc *nats.Conn) error {
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	for nc.Status() != nats.CONNECTED {
		if nc.IsClosed() {
			return errors.New("wait for NATS: the connection is closed")
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
	return nil
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
