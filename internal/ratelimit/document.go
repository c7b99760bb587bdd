package ratelimit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// document is what is stored of one phone. Times are nanoseconds since 1970.
type document struct {
	// Entries are the reservations, oldest first, one a request.
	Entries []entry `json:"entries,omitempty"`
	// ClosedUntil is when Aliyun's own limit opens the phone again; 0: not closed.
	ClosedUntil int64 `json:"closed_until,omitempty"`
}

type entry struct {
	ID string `json:"id"`
	At int64  `json:"at"`
	// Revision is that of the record on which the last attempt rests that asked for
	// the reservation; 0 where a worker of an earlier version made it.
	Revision uint64 `json:"attempt,omitempty"`
}

const (
	// maxDocumentBytes is more than [domain.MaxPlaces] entries with the longest ids take.
	maxDocumentBytes = 256 << 10
	// maxTime, in the year 2200, leaves room to add any window without overflow.
	maxTime = int64(7_258_118_400_000_000_000)
)

// ErrCorrupt says that what is stored of a phone is no document of this package;
// match with errors.Is. Its text never quotes the bytes.
var ErrCorrupt = errors.New("the document can't be read")

// decodeDocument reads a document; no bytes are an empty one. All of it must be
// sound: half a document would be a guess at how many reservations there are.
func decodeDocument(data []byte) (document, error) {
	var doc document
	switch {
	case len(data) == 0:
		return doc, nil
	case len(data) > maxDocumentBytes:
		return corrupt("it is too long")
	case json.Unmarshal(data, &doc) != nil:
		return corrupt("not the JSON expected")
	case len(doc.Entries) > domain.MaxPlaces:
		return corrupt("too many entries")
	case doc.ClosedUntil < 0 || doc.ClosedUntil > maxTime:
		return corrupt("closed_until is out of range")
	}
	seen := make(map[string]bool, len(doc.Entries))
	for _, e := range doc.Entries {
		switch {
		case !passcode.ValidRequestID(e.ID):
			return corrupt("an entry has no request id")
		case seen[e.ID]:
			return corrupt("a request has two entries")
		case e.At <= 0 || e.At > maxTime:
			return corrupt("the time of an entry is out of range")
		}
		seen[e.ID] = true
	}
	slices.SortStableFunc(doc.Entries, func(a, b entry) int { return cmp.Compare(a.At, b.At) })
	return doc, nil
}

func corrupt(what string) (document, error) {
	return document{}, fmt.Errorf("%w: %s", ErrCorrupt, what)
}

// State is what the limiter knows of one phone, for operators.
type State struct {
	Windows []Window `json:"windows"` // one for each rule, in their order
	// ClosedUntil is when Aliyun's own limit opens the phone again; zero: it is open.
	ClosedUntil time.Time `json:"closed_until,omitzero"`
	// NextAllowed is when a new request is allowed; zero: now.
	NextAllowed time.Time `json:"next_allowed_at,omitzero"`
	// Entries are the reservations that still count under some rule, oldest first.
	Entries []Entry `json:"entries"`
}

// Window is how far one rule is used up.
type Window struct {
	Rule domain.Rule `json:"rule"`
	Used int         `json:"used"`
	Max  int         `json:"max"`
	// NextFree is when a used-up rule allows a request again, otherwise when the
	// oldest reservation leaves the window. Zero where there is none.
	NextFree time.Time `json:"next_free_at,omitzero"`
}

// Entry is the reservation of one request.
type Entry struct {
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"`
	Revision  uint64    `json:"-"` // what [Limiter.Reserve] was told
}

// state describes the document at local time now, without what counts no more.
func (d *document) state(now int64, rules []domain.Rule) State {
	now = d.latest(now)
	d.prune(now, rules)
	s := State{Windows: make([]Window, 0, len(rules)), Entries: make([]Entry, 0, len(d.Entries))}
	for _, rule := range rules {
		w := Window{Rule: rule, Max: rule.Max}
		for _, e := range d.Entries {
			if now-e.At < int64(rule.Window) {
				w.Used++
			}
		}
		if w.Used > 0 {
			next := d.Entries[len(d.Entries)-min(w.Used, rule.Max)]
			w.NextFree = instant(next.At + int64(rule.Window))
		}
		s.Windows = append(s.Windows, w)
	}
	for _, e := range d.Entries {
		s.Entries = append(s.Entries, Entry{RequestID: e.ID, At: instant(e.At), Revision: e.Revision})
	}
	if d.ClosedUntil > now {
		s.ClosedUntil = instant(d.ClosedUntil)
	}
	if until, _ := d.blockedUntil(now, rules); until > now {
		s.NextAllowed = instant(until)
	}
	return s
}

func instant(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
