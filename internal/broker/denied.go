package broker

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// maxDenials bounds what is logged of one connection's denials. A right with a
// wildcard is denied under a new subject for each key.
const maxDenials = 32

// denials logs which rights the server denies, each once a connection: what is
// denied is tried again for as long as the worker runs. The server says so beside
// the answers, so all that the request itself sees is that nobody answers.
type denials struct {
	log *slog.Logger

	mu   sync.Mutex
	seen map[string]bool
}

// violation finds the subject in the server's words.
var violation = regexp.MustCompile(`Permissions Violation for (Publish|Subscription) to "([^"]+)"`)

// logged reports whether the error was a denial, which then is logged.
func (d *denials) logged(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	found := violation.FindStringSubmatch(err.Error())
	if found == nil {
		return false
	}
	direction, subject := Publish, asGranted(found[2])
	if found[1] == "Subscription" {
		direction = Subscribe
	}
	switch n := d.count(direction.String() + " " + subject); {
	case n <= maxDenials && n > 0:
		d.log.Error("NATS denies a right that is needed here", "right", direction.String(), "subject", subject,
			"mend", `allow it to this user on the NATS server; "worker check" lists every right that a worker needs`)
	case n == maxDenials+1:
		d.log.Error("NATS denies more rights than are logged", "logged", maxDenials)
	}
	return true
}

// deniedInbox reports whether what was denied is to subscribe to an inbox.
func deniedInbox(err error, inbox string) bool {
	found := violation.FindStringSubmatch(err.Error())
	return found != nil && found[1] == "Subscription" && strings.HasPrefix(found[2], inbox+".")
}

// anyName finds, in a request about one of the consumers that the client library
// makes for a while, the name that it drew.
var anyName = regexp.MustCompile(`^(\$JS\.API\.CONSUMER\.(?:CREATE|DELETE)\.KV_[^.]+)\.[^.]+`)

// anyKey finds the key in the subject of a bucket.
var anyKey = regexp.MustCompile(`^(\$KV\.[^.]+)\.[^.]+$`)

// asGranted is the subject as it stands in the rights: each inbox, and each of
// those consumers, has another name, and each request and phone its own key.
func asGranted(subject string) string {
	for _, inbox := range []string{WorkerInbox, CommandInbox} {
		if strings.HasPrefix(subject, inbox+".") {
			return inbox + ".>"
		}
	}
	return anyKey.ReplaceAllString(anyName.ReplaceAllString(subject, "$1.*"), "$1.*")
}

// count returns the number of different denials up to this one, 0 where it is
// known, and counts no further than one beyond those that are logged.
func (d *denials) count(denial string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[denial] || len(d.seen) > maxDenials {
		return 0
	}
	d.seen[denial] = true
	return len(d.seen)
}

// forget has everything logged again: the rights may be others now.
func (d *denials) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = map[string]bool{}
}
