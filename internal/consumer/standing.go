package consumer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// thing is what jobs need in the broker.
type thing string

const (
	nothing thing = "" // its trouble holds up no job
	records thing = "the records"
	limits  thing = "the limits"
	letters thing = "the dead letters"
	jobs    thing = "the jobs"
)

// operation is one on the broker, by its name in the metrics, and what it works on.
type operation struct {
	name string
	on   thing
}

var (
	opAdmit         = operation{"admit", nothing}
	opAccount       = operation{"gate", nothing}
	opAnnounce      = operation{"announce", nothing}
	opReply         = operation{"reply", nothing}
	opClaim         = operation{"claim", records}
	opCount         = operation{"count attempt", records}
	opLookUp        = operation{"look up", records}
	opRecord        = operation{"record", records}
	opUndeliverable = operation{"abandoned", records}
	opRecover       = operation{"recover", records}
	opReserve       = operation{"reserve", limits}
	opClosePhone    = operation{"close phone", limits}
	opRelease       = operation{"release", limits}
	opDeadLetter    = operation{"dead letter", letters}
	opFindOwner     = operation{"find owner", jobs}
)

// standing knows since when each thing has failed and not worked again. While it does no job comes to its end,
// and the worker's readiness says so.
type standing struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[thing]failing
}

type failing struct {
	since, last time.Time
	operation   operation
	err         error
}

const (
	standsAfter = 2 * time.Second // of failing, it is reported
	forgetAfter = time.Minute     // without a failure, it is over: a job that failed comes again sooner
)

// failed takes note of an operation that failed because of the broker.
func (s *standing) failed(op operation, err error) {
	if op.on == nothing || errors.Is(err, domain.ErrConflict) || errors.Is(err, domain.ErrCorrupt) || errors.Is(err, domain.ErrUnstorable) {
		return
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.of[op.on]
	if !ok {
		f.since = now
	}
	f.last, f.operation, f.err = now, op, err
	s.of[op.on] = f
}

func (s *standing) worked(op operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, op.on)
}

// Standing says what in the broker has failed for a while, in a fixed order. Each wraps the last failure.
func (h *Handler) Standing() []error {
	s, now := h.standing, h.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for thing, f := range s.of {
		switch {
		case now.Sub(f.last) > forgetAfter:
			delete(s.of, thing)
		case now.Sub(f.since) >= standsAfter:
			all = append(all, fmt.Errorf("%s fail since %s (%s: %w)", thing, f.since.Format(time.RFC3339), f.operation.name, f.err))
		}
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return all
}
