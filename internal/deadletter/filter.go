package deadletter

import (
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Filter picks dead letters. What is empty picks all; what is given must all
// hold.
type Filter struct {
	// IDs are request ids, or "seq-N" for jobs whose id could not be read.
	IDs     []string
	Reasons []passcode.Reason
	// ErrorCodes are matched exactly.
	ErrorCodes []string
	// Since and Until bound the time of death; Until itself is outside.
	Since, Until time.Time
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
	reason, id := "*", "*"
	if len(f.Reasons) == 1 {
		reason = string(f.Reasons[0])
	}
	if len(f.IDs) == 1 {
		id = f.IDs[0]
	}
	if reason == "*" && id == "*" {
		return prefix + ".>" // also what somebody else put there
	}
	return prefix + "." + reason + "." + id
}

// subjectParts reads reason and id out of a dead letter's subject.
func subjectParts(prefix, subject string) (reason, id string) {
	rest, _ := strings.CutPrefix(subject, prefix+".")
	reason, id, _ = strings.Cut(rest, ".")
	return reason, id
}
