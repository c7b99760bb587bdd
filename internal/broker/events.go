package broker

import (
	"errors"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// events logs what happens to a connection.
type events struct {
	log    *slog.Logger
	denied denials

	mu sync.Mutex
	// lastFailure is the text of the last failed try to connect: a broker that is
	// away for an hour is one line, not thousands, and a new reason is a new line.
	lastFailure string
	// inbox is where every answer of the broker comes in.
	inbox string
	// again is true while the connection is about to be made anew.
	again bool
}

func newEvents(log *slog.Logger) *events {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &events{log: log, denied: denials{log: log, seen: map[string]bool{}}}
}

func (e *events) options() []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) { e.up(nc, "connected to NATS") }),
		nats.ReconnectHandler(func(nc *nats.Conn) { e.up(nc, "reconnected to NATS") }),
		nats.DisconnectErrHandler(e.down),
		nats.ReconnectErrHandler(e.failedToConnect),
		nats.ErrorHandler(e.failed),
		nats.ClosedHandler(e.closed),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			e.log.Warn("NATS server is about to shut down; its connections move to others", "server", nc.ConnectedUrlRedacted())
		}),
	}
}

func (e *events) up(nc *nats.Conn, what string) {
	e.mu.Lock()
	e.lastFailure = ""
	e.mu.Unlock()
	e.denied.forget()
	e.log.Info(what, "server", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())
}

func (e *events) down(nc *nats.Conn, err error) {
	if nc.IsClosed() || err == nil {
		return // our own doing
	}
	e.log.Warn("disconnected from NATS; reconnecting", "error", redact(err.Error()))
}

func (e *events) failedToConnect(_ *nats.Conn, err error) {
	text := redact(err.Error())
	e.mu.Lock()
	known := text == e.lastFailure
	e.lastFailure = text
	e.mu.Unlock()
	switch {
	case known:
	case isAuthError(err):
		e.refused(text)
	default:
		e.log.Warn("can't connect to NATS; trying on", "error", text)
	}
}

func (e *events) failed(nc *nats.Conn, sub *nats.Subscription, err error) {
	text := redact(err.Error())
	if isAuthError(err) {
		e.mu.Lock()
		known := text == e.lastFailure
		e.lastFailure = text
		e.mu.Unlock()
		if !known {
			e.refused(text)
		}
		return
	}
	if e.denied.logged(err) {
		if e.inbox != "" && deniedInbox(err, e.inbox) {
			e.subscribeAgain(nc)
		}
		return
	}
	attrs := []any{"error", text}
	if sub != nil {
		attrs = append(attrs, "subject", sub.Subject)
	}
	e.log.Error("NATS reports an error", attrs...)
}

// resubscribeAfter is how soon the inbox is subscribed to again that was denied.
const resubscribeAfter = 5 * time.Second

// subscribeAgain makes the connection anew in a while. A server that is told to
// deny a subject drops the subscriptions to it, and doesn't take them up again when
// it is allowed; the client sends them with a new connection alone. Without its
// inbox a worker can do nothing, so the connection is no loss.
func (e *events) subscribeAgain(nc *nats.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.again {
		return
	}
	e.again = true
	time.AfterFunc(resubscribeAfter, func() {
		e.mu.Lock()
		e.again = false
		e.mu.Unlock()
		_ = nc.ForceReconnect() // fails on a connection that is closed
	})
}

func (e *events) refused(text string) {
	e.log.Error("NATS refuses the credentials; trying on until they are accepted", "error", text,
		"settings", "nats.creds, nats.user, nats.password, nats.token, nats.nkey_seed_file")
}

func (e *events) closed(nc *nats.Conn) {
	if err := nc.LastError(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		e.log.Info("NATS connection closed", "last_error", redact(err.Error()))
	}
}

func isAuthError(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// userinfo finds the user and password of a URL inside a text, as far as the
// last "@" before white space or a quote: an unencoded password may hold one. Which
// scheme it has, or none, makes no difference.
var userinfo = regexp.MustCompile(`://[^\s"']*@`)

// redact hides the users and passwords of URLs in a text.
func redact(text string) string { return userinfo.ReplaceAllString(text, "://****@") }
