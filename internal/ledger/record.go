package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Limits of a record.
const (
	// MaxRecordBytes is the size of the largest record, in bytes. A record built
	// from a valid job stays well below it, so what is larger is a mistake.
	MaxRecordBytes = 64 << 10
	// MaxMessageBytes is how much of an error's message is kept, in bytes; the
	// rest is cut off, because the text comes from outside.
	MaxMessageBytes = 2 << 10
)

// Errors about a record itself; match with errors.Is.
var (
	// ErrCorrupt: the stored bytes are not a record. Reading again gives the same,
	// so the request needs an operator.
	ErrCorrupt = domain.ErrCorrupt
	// ErrInvalid: the record given can't be stored, now or later.
	ErrInvalid = domain.ErrUnstorable
)

// encode returns the bytes to store and the record exactly as a reader will see
// it.
func encode(rec passcode.Result) ([]byte, passcode.Result, error) {
	rec = normalise(rec)
	switch {
	case !passcode.ValidRequestID(rec.RequestID):
		return nil, rec, fmt.Errorf("%w: its request id is not valid", ErrInvalid)
	case !slices.Contains(passcode.Statuses(), rec.Status):
		return nil, rec, fmt.Errorf("%w: its status is not a known one", ErrInvalid)
	case rec.Attempts < 0 || rec.Replays < 0:
		return nil, rec, fmt.Errorf("%w: a count is negative", ErrInvalid)
	}
	data, err := json.Marshal(rec)
	if err != nil {
		// Only a time can fail: JSON has no year before 0 or after 9999.
		return nil, rec, fmt.Errorf("%w: a time is out of range", ErrInvalid)
	}
	if len(data) > MaxRecordBytes {
		return nil, rec, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrInvalid, len(data), MaxRecordBytes)
	}
	return data, rec, nil
}

// normalise brings a record into the one form in which it is stored, so that
// equal records have equal bytes and a record written equals the one read.
func normalise(rec passcode.Result) passcode.Result {
	rec = rec.In(rec.Status)
	rec.Duplicate = false // said of an announcement, never of a request
	if rec.Metadata == nil {
		rec.Metadata = map[string]string{} // "{}" for readers, never "null"
	}
	if rec.Error != nil {
		e := *rec.Error
		e.Message = text.Cut(e.Message, MaxMessageBytes)
		rec.Error = &e
	}
	for _, t := range times(&rec) {
		*t = t.UTC().Round(0) // without the monotonic reading, which JSON drops
	}
	return rec
}

func times(rec *passcode.Result) []*time.Time {
	return []*time.Time{
		&rec.NextAttemptAt, &rec.DeliveredAt, &rec.QueuedAt, &rec.UpdatedAt, &rec.ExpiresAt, &rec.AttemptedAt,
		&rec.LookupBeganAt,
	}
}

// decode reads the stored bytes of a request. What it says of unreadable ones
// quotes nothing of them, because they may hold anything.
func decode(id string, data []byte) (passcode.Result, error) {
	corrupt := func(what string) (passcode.Result, error) {
		return passcode.Result{}, fmt.Errorf("%w: request %s: %s", ErrCorrupt, id, what)
	}
	if len(data) > MaxRecordBytes {
		return corrupt(fmt.Sprintf("%d bytes, at most %d are expected", len(data), MaxRecordBytes))
	}
	var rec passcode.Result
	if err := json.Unmarshal(data, &rec); err != nil {
		return corrupt(whatBroke(err))
	}
	switch {
	case rec.RequestID != id:
		return corrupt("it names another request")
	case !slices.Contains(passcode.Statuses(), rec.Status):
		return corrupt("its status is not a known one")
	case rec.Attempts < 0 || rec.Replays < 0:
		return corrupt("a count is negative")
	}
	rec = normalise(rec)
	for _, t := range times(&rec) {
		if year := t.Year(); year < 0 || year > 9999 { // in UTC; it could not be written back
			return corrupt("a time is out of range")
		}
	}
	return rec, nil
}

func whatBroke(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("the JSON breaks at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("a member has the wrong type, at byte %d", kind.Offset)
	default:
		return "a time can't be read"
	}
}
