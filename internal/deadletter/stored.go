package deadletter

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Stored is one message of the dead-letter stream.
type Stored struct {
	Seq      uint64    // its sequence in the stream, which names this very message
	StoredAt time.Time // when the stream took it
	Entry    Entry     // what it says; zero where Err is set
	Err      error     // [ErrCorrupt] where the message is no dead letter

	reason, id string // of the subject
}

func newStored(prefix string, msg *jetstream.RawStreamMsg) Stored {
	s := Stored{Seq: msg.Sequence, StoredAt: msg.Time}
	// Whoever may publish here chooses the subject, and it is shown on terminals.
	own := strings.TrimPrefix(text.Line(msg.Subject, maxNameBytes), prefix+".")
	s.reason, s.id, _ = strings.Cut(own, ".")
	s.Entry, s.Err = Parse(msg.Header, msg.Data)
	return s
}

// ID is the request id, or "seq-N" where none could be read.
func (s Stored) ID() string { return s.id }

// RequestID is the request's id, of the headers or else of the job; empty where there
// is none.
func (s Stored) RequestID() string {
	if s.Err != nil || s.Entry.RequestID != "" {
		return s.Entry.RequestID
	}
	job, _ := s.Job() // what can be read of it
	return job.RequestID
}

// Reason is why the job is here; of what is no dead letter, what its subject claims.
func (s Stored) Reason() passcode.Reason {
	if s.Err != nil {
		return passcode.Reason(s.reason)
	}
	return s.Entry.Reason
}

// DiedAt is when the job was given up.
func (s Stored) DiedAt() time.Time {
	if s.Entry.DeadAt.IsZero() {
		return s.StoredAt
	}
	return s.Entry.DeadAt
}

// Job reads the job as [passcode.Decode] does.
func (s Stored) Job() (passcode.Job, error) { return passcode.Decode(s.Entry.Body) }

// ExpiresAt is when the job's passcode stops being worth sending: as the job says, or
// ttl (worker.passcode_ttl) after it was stored. It is zero where neither is known.
func (s Stored) ExpiresAt(job passcode.Job, ttl time.Duration) time.Time {
	switch {
	case !job.ExpiresAt.IsZero():
		return job.ExpiresAt
	case s.Entry.Origin.QueuedAt.IsZero():
		return time.Time{}
	default:
		return s.Entry.Origin.QueuedAt.Add(ttl)
	}
}

// Filter picks dead letters. What is empty picks all; what is given must all hold.
type Filter struct {
	IDs          []string // request ids, or "seq-N" for jobs whose id could not be read
	Reasons      []passcode.Reason
	ErrorCodes   []string  // matched exactly
	Since, Until time.Time // of death; Until itself is outside
}

// Empty reports whether the filter picks every dead letter.
func (f Filter) Empty() bool {
	return len(f.IDs) == 0 && len(f.Reasons) == 0 && len(f.ErrorCodes) == 0 && f.Since.IsZero() && f.Until.IsZero()
}

// Match reports whether the filter picks the dead letter.
func (f Filter) Match(s Stored) bool {
	at := s.DiedAt()
	return among(f.IDs, s.ID()) && among(f.Reasons, s.Reason()) && among(f.ErrorCodes, s.Entry.ErrorCode) &&
		(f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || at.Before(f.Until))
}

func among[T comparable](wanted []T, value T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

// pattern is the narrowest single subject pattern with which the server leaves
// out what the filter does not pick.
func (f Filter) pattern(prefix string) string {
	switch {
	case len(f.IDs) == 1:
		return prefix + ".*." + f.IDs[0]
	case len(f.Reasons) == 1:
		return prefix + "." + string(f.Reasons[0]) + ".*"
	default:
		return prefix + ".>" // also what somebody else put there
	}
}
