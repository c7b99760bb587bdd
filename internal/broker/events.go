package broker

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/telemetry/once"
)

// events logs what happens to a connection, each change once.
type events struct {
	log      *slog.Logger
	inbox    string      // where every answer of the broker comes in
	told     once.States // since the last connection was made
	renewing atomic.Bool // the connection is about to be renewed
}

func (e *events) options() []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) { e.up(nc, "connected to NATS") }),
		nats.ReconnectHandler(func(nc *nats.Conn) { e.up(nc, "reconnected to NATS") }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err != nil && !nc.IsClosed() { // else it is our own doing
				e.log.Warn("disconnected from NATS; reconnecting", "error", redact(err.Error()))
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { e.notConnected(err) }),
		nats.ErrorHandler(e.failed),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if err := nc.LastError(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				e.log.Info("NATS connection closed", "last_error", redact(err.Error()))
			}
		}),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			e.log.Warn("NATS server is about to shut down; its connections move to others", "server", nc.ConnectedUrlRedacted())
		}),
	}
}

func (e *events) up(nc *nats.Conn, what string) {
	e.told.Forget() // also what was denied: the rights may be others now
	e.log.Info(what, "server", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())
}

func (e *events) notConnected(err error) {
	text := redact(err.Error())
	switch {
	case !e.told.Changed("connection", text):
	case isAuthError(err):
		e.log.Error("NATS refuses the credentials; trying again until they are accepted", "error", text,
			"settings", "nats.creds, nats.user, nats.password, nats.token, nats.nkey_seed_file")
	default:
		e.log.Warn("can't connect to NATS; trying again", "error", text)
	}
}

// failed takes an error that no call returns.
func (e *events) failed(nc *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case isAuthError(err):
		e.notConnected(err)
		return
	case errors.Is(err, nats.ErrConsumerNotActive):
		// A watch says so every ten seconds while there is no connection, and goes on by itself afterwards.
		return
	}
	if direction, subject, ok := violation(err); ok {
		e.deny(nc, direction, subject)
		return
	}
	attrs := []any{"error", redact(err.Error())}
	if sub != nil {
		attrs = append(attrs, "subject", sub.Subject)
	}
	e.log.Error("NATS reports an error", attrs...)
}

// deny logs a right that the server denies, once a connection: the worker goes on
// trying. The request itself only sees that nobody answers.
func (e *events) deny(nc *nats.Conn, direction Direction, subject string) {
	right := asGranted(subject)
	if e.told.Changed(string(direction)+" "+right, "denied") {
		e.log.Error("NATS denies a right that is needed here", "right", string(direction), "subject", right,
			"fix", `allow it to this user on the NATS server; "worker check" lists every right that a worker needs`)
	}
	// A server that is told to deny a subject drops the subscriptions to it, and doesn't take them up again when it
	// is allowed; the client sends them with a new connection alone. Without its inbox a worker can do nothing.
	if direction == Subscribe && strings.HasPrefix(subject, e.inbox+".") && e.renewing.CompareAndSwap(false, true) {
		time.AfterFunc(5*time.Second, func() {
			e.renewing.Store(false)
			_ = nc.ForceReconnect() // fails on a connection that is closed
		})
	}
}

func isAuthError(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// violationText finds the subject in the server's words.
var violationText = regexp.MustCompile(`Permissions Violation for (Publish|Subscription) to "([^"]+)"`)

// violation returns what the server denies.
func violation(err error) (d Direction, subject string, ok bool) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		if found := violationText.FindStringSubmatch(err.Error()); found != nil {
			return map[string]Direction{"Publish": Publish, "Subscription": Subscribe}[found[1]], found[2], true
		}
	}
	return "", "", false
}

var (
	// anyName finds the name that the client library drew for a consumer of its own.
	anyName = regexp.MustCompile(`^(\$JS\.API\.CONSUMER\.(?:CREATE|DELETE)\.KV_[^.]+)\.[^.]+`)
	// anyKey finds the key in the subject of a bucket.
	anyKey = regexp.MustCompile(`^(\$KV\.[^.]+)\.[^.]+$`)
)

// asGranted is the subject as it stands in the rights: with wildcards for the names
// of inboxes, of such consumers, and of keys.
func asGranted(subject string) string {
	for _, inbox := range []string{WorkerInbox, CommandInbox} {
		if strings.HasPrefix(subject, inbox+".") {
			return inbox + ".>"
		}
	}
	return anyKey.ReplaceAllString(anyName.ReplaceAllString(subject, "$1.*"), "$1.*")
}

// userinfo finds the user and password of a URL inside a text, as far as the
// last "@" before white space or a quote: an unencoded password may hold one.
var userinfo = regexp.MustCompile(`://[^\s"']*@`)

// redact hides the users and passwords of URLs in a text.
func redact(text string) string { return userinfo.ReplaceAllString(text, "://****@") }
