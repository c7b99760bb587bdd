package ratelimit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// document is the state of one phone. Times are nanoseconds since 1970, because
// a window is exact only as far as the times in it are.
type document struct {
	// Entries are the reservations, oldest first, one a request.
	Entries []entry `json:"entries,omitempty"`
	// ClosedUntil is when Aliyun's own limit opens the phone again; 0: not closed.
	ClosedUntil int64 `json:"closed_until,omitempty"`
}

// entry is the reservation of one request.
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

// ErrCorrupt says that what is stored of a phone is no document that this package
// would write; match with errors.Is. Its text and what wraps it never quote the
// bytes.
var ErrCorrupt = errors.New("the document can't be read")

// decodeDocument reads a document; no bytes are an empty one. All of it must be
// sound: half a document would be a guess at how many reservations there are.
func decodeDocument(data []byte) (document, error) {
	if len(data) == 0 {
		return document{}, nil
	}
	if len(data) > maxDocumentBytes {
		return document{}, fmt.Errorf("%w: %d bytes are more than %d", ErrCorrupt, len(data), maxDocumentBytes)
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return document{}, fmt.Errorf("%w: not the JSON expected", ErrCorrupt)
	}
	if len(doc.Entries) > domain.MaxPlaces {
		return document{}, fmt.Errorf("%w: %d entries are more than %d", ErrCorrupt, len(doc.Entries), domain.MaxPlaces)
	}
	if doc.ClosedUntil < 0 || doc.ClosedUntil > maxTime {
		return document{}, fmt.Errorf("%w: closed_until is out of range", ErrCorrupt)
	}
	seen := make(map[string]bool, len(doc.Entries))
	for i, e := range doc.Entries {
		switch {
		case !passcode.ValidRequestID(e.ID):
			return document{}, fmt.Errorf("%w: entry %d has no request id", ErrCorrupt, i)
		case seen[e.ID]:
			return document{}, fmt.Errorf("%w: entry %d repeats a request id", ErrCorrupt, i)
		case e.At <= 0 || e.At > maxTime:
			return document{}, fmt.Errorf("%w: entry %d has a time out of range", ErrCorrupt, i)
		}
		seen[e.ID] = true
	}
	slices.SortStableFunc(doc.Entries, byTime)
	return doc, nil
}

func byTime(a, b entry) int { return cmp.Compare(a.At, b.At) }
